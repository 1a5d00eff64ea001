_base_ = [
    '_base_/models/cbt_decoder.py', '_base_/datasets/ade20k.py',
    '_base_/schedules/schedule_160k.py', '_base_/default_runtime.py'
]
