from mmwhitebox import stack  # noqa: F401  # isort: skip
from .hooks import *  # noqa: F403
from .metrics import IoUMetric, ModelForMetrics, PerClassIoUMetric, ZeroShotSegmentation
from .optim import (
    BFloat16OptimWrapper,
    LayerDecayOptimizerConstructor,
    LearningRateDecayOptimizerConstructor,
    Lion,
    RampedCosineLR,
    WarmupCosineLR,
)
from .visualizer import SideBySideVisualizer, TolerantVisBackend

__all__ = [
    'BFloat16OptimWrapper', 'IoUMetric', 'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor',
    'Lion', 'ModelForMetrics', 'PerClassIoUMetric', 'RampedCosineLR', 'SideBySideVisualizer', 'TolerantVisBackend',
    'WarmupCosineLR', 'ZeroShotSegmentation'
]
