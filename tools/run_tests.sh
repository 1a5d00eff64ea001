#!/usr/bin/env bash
# Run the tests, the files spread over the cores: bash tools/run_tests.sh [pytest arguments]
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
exec "$PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"
