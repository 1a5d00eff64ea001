default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=1800))  # seconds that a process waits for another one
default_hooks = dict(
    tf32=dict(type='mmwhitebox.TF32Hook', enabled=False),
    onednn=dict(type='mmwhitebox.OneDNNHook', enabled='auto'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='mmwhitebox.AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='accuracy/top1',
        max_failures=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    initial_weights=dict(type='mmwhitebox.InitialWeightsHook', min_fraction=0.5),
    exact_resume=dict(type='mmwhitebox.ExactResumeHook'),
    schedule=dict(type='mmwhitebox.ScheduleHook'),
    stop_on_signal=dict(type='mmwhitebox.StopOnSignalHook'),
    finite=dict(type='mmwhitebox.FiniteHook', on_nonfinite='stop'),
    visualization=dict(type='VisualizationHook'))
vis_backends = [dict(type='mmwhitebox.TolerantVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends, name='visualizer')
log_level = 'INFO'
load_from = None
resume = False
