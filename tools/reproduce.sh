#!/usr/bin/env bash
# Train and measure what projects/small_data/README.md shows: bash tools/reproduce.sh camvid|cifar10 [--quick]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
exec "$PYTHON" -u -m projects.small_data "$@"
