#!/usr/bin/env bash
# Train on several processes:    tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each. Without a GPU it runs on gloo.
# SIGTERM, SIGINT and SIGUSR1 stop it after a checkpoint, with status 75; STOP_TIMEOUT (600) seconds are given for that.
# A process that dies ends the others: at once on its machine, on the others after env_cfg.dist_cfg.timeout seconds.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,5p "$0" >&2; exit 2; fi
config=$1; gpus=$2; shift 2
script=(tools/train.py "$config")
root=$(cd "$(dirname "$0")/.." && pwd)
script[0]="$root/${script[0]}"
exec "${PYTHON:-python}" "$root/tools/dist_launch.py" \
    --max-restarts=0 --signals-to-handle=SIGTERM,SIGINT,SIGUSR1,SIGHUP,SIGQUIT \
    --shutdown-timeout="${STOP_TIMEOUT:-600}" \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "${script[@]}" --launcher pytorch "$@"
