#!/usr/bin/env bash
# Generate a miniature ADE20K, train a CBT decoder on it, evaluate it and draw its predictions.
# Interrupted and run again, it continues from the last checkpoint.
set -euo pipefail
source "$(dirname "$0")/setup_env.sh"
cd "$ROOT"
config=configs/cbt_decoder/cbt_decoder_mini_ade20k.py
work_dir=work_dirs/quickstart

"$PYTHON" tools/make_mini_ade20k.py --out data/mini_ade20k --train 96 --val 24 --size 256 --seed 0

resume=()
[ -f "$work_dir/last_checkpoint" ] && resume=(--resume)
"$PYTHON" tools/train.py "$config" --work-dir "$work_dir" "${resume[@]}"

checkpoint=$(cat "$work_dir/last_checkpoint")
"$PYTHON" tools/test.py "$config" "$checkpoint" --work-dir "$work_dir/test" --show-dir "$work_dir/pictures"

metrics=$(ls -t "$work_dir"/test/*/*.json | head -n 1)
log=$(ls -t "$work_dir"/*/*.log | head -n 1)
echo
"$PYTHON" - "$metrics" <<'PY'
import json
import sys
print(f"mIoU       {json.load(open(sys.argv[1]))['mIoU']:.2f} (classes present in the validation half)")
PY
echo "checkpoint ${checkpoint#"$ROOT"/}"
echo "log        $log"
echo "pictures   $work_dir/pictures"
