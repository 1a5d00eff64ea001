default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=1800))  # seconds that a process waits for another one
sync_bn = 'torch'  # on several GPUs, norms are of the whole batch
default_hooks = dict(
    training_checks=dict(type='mmwhitebox.TrainingChecksHook'),  # what train.py checks, by any Runner
    tf32=dict(type='mmwhitebox.TF32Hook', enabled=False),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mmwhitebox.AtomicCheckpointHook', by_epoch=False, interval=16000, max_keep_ckpts=2,
        save_best='mIoU', max_failures=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    initial_weights=dict(type='mmwhitebox.InitialWeightsHook', min_fraction=0.5),
    exact_resume=dict(type='mmwhitebox.ExactResumeHook'),
    schedule=dict(type='mmwhitebox.ScheduleHook'),
    stop_on_signal=dict(type='mmwhitebox.StopOnSignalHook'),
    finite=dict(type='mmwhitebox.FiniteHook', on_nonfinite='stop'),
    visualization=dict(type='mmwhitebox.SegVisualizationHook'))
vis_backends = [dict(type='mmwhitebox.TolerantVisBackend')]
visualizer = dict(
    type='mmwhitebox.SideBySideVisualizer', vis_backends=vis_backends, name='visualizer', alpha=0.7)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
