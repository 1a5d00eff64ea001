#!/usr/bin/env bash
# Kill, interrupt and fill up real trainings, and fuzz their input, half an hour: bash tools/stress.sh [pytest arguments]
# STRESS_KILLS (30), STRESS_ITERS (100) and STRESS_SEED (drawn) say how much; -k kills runs one part.
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
exec "$PYTHON" -m pytest -v -m 'stress or not slow' --hypothesis-profile=stress tests/test_fuzz tests/stress "$@"
