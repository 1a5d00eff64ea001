#!/usr/bin/env bash
# Train under SLURM: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS are read from the environment.
# A job that is requeued goes on where it stopped: call it in an sbatch script (#SBATCH --requeue) with --resume if-any and
# SRUN_ARGS="--signal=USR1@120". Status 75: stopped before the end, saved; "scontrol requeue $SLURM_JOB_ID" goes on.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n 2,5p "$0" >&2; exit 2; fi
partition=$1; job=$2; config=$3; shift 3
gpus=${GPUS:-8}
per_node=$(( gpus < ${GPUS_PER_NODE:-8} ? gpus : ${GPUS_PER_NODE:-8} ))
root=$(cd "$(dirname "$0")/.." && pwd)
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$root/tools/train.py" "$config" --launcher slurm "$@"
