#!/usr/bin/env bash
# Kill, interrupt and fill up real trainings, and fuzz their input: bash tools/stress.sh [--kills 30] [--quick]
# Every run that was disturbed is resumed and must end with the parameters of the undisturbed one. Ends with a table.
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
exec "$PYTHON" -u tools/stress.py "$@"
