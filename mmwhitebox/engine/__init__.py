"""What runs inside mmengine, through its registries."""
from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import hooks
from .metrics import IoUMetric, ModelForMetrics, PerClassIoUMetric, ZeroShotSegmentation
from .optim import BFloat16OptimWrapper, LayerDecayOptimizerConstructor, LearningRateDecayOptimizerConstructor, Lion
from .schedulers import RampedCosineLR, WarmupCosineLR
from .visualizer import SideBySideVisualizer, TolerantVisBackend

__all__ = [
    'BFloat16OptimWrapper', 'IoUMetric', 'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor',
    'Lion', 'ModelForMetrics', 'PerClassIoUMetric', 'RampedCosineLR', 'SideBySideVisualizer', 'TolerantVisBackend',
    'WarmupCosineLR', 'ZeroShotSegmentation', 'hooks'
]
