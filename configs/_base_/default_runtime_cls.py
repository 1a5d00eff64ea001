# The runtime of a classifier: mmpretrain's types, epochs instead of iterations.
_base_ = './default_runtime.py'
default_scope = 'mmpretrain'
default_hooks = dict(
    logger=dict(interval=100, log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1, save_best='accuracy/top1'),
    visualization=dict(type='VisualizationHook'))
visualizer = dict(_delete_=True, type='UniversalVisualizer', vis_backends={{_base_.vis_backends}}, name='visualizer')
log_processor = dict(by_epoch=True)
