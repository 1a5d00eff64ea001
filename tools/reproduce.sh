#!/usr/bin/env bash
# Train and measure what docs/results.md shows, and write its tables: bash tools/reproduce.sh camvid|cifar10 [--quick]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
exec "$PYTHON" -u tools/reproduce.py "$@"
