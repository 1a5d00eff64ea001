#!/usr/bin/env bash
# Evaluate on several processes: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. Without a GPU it runs on gloo.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n 2,3p "$0" >&2; exit 2; fi
config=$1; checkpoint=$2; gpus=$3; shift 3
script=(tools/test.py "$config" "$checkpoint")
root=$(cd "$(dirname "$0")/.." && pwd)
script[0]="$root/${script[0]}"
exec "${PYTHON:-python}" "$root/tools/dist_launch.py" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "${script[@]}" --launcher pytorch "$@"
