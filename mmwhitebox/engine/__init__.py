from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import hooks
from .feature_scores import KNNAccuracy, LinearProbeAccuracy
from .feature_validation import FeatureValLoop
from .hooks import *  # noqa: F403
from .metrics import ClassScores, IoUMetric, ModelForMetrics, PerClassIoUMetric, ZeroShotSegmentation
from .optim import (
    BFloat16OptimWrapper,
    LayerDecayOptimizerConstructor,
    LearningRateDecayOptimizerConstructor,
    Lion,
    RampedCosineLR,
    TrainedOptimWrapperConstructor,
    WarmupCosineLR,
)
from .visualizer import SideBySideVisualizer, TolerantVisBackend

__all__ = [
    'BFloat16OptimWrapper', 'ClassScores', 'FeatureValLoop', 'IoUMetric', 'KNNAccuracy',
    'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor', 'LinearProbeAccuracy', 'Lion',
    'ModelForMetrics', 'PerClassIoUMetric', 'RampedCosineLR', 'SideBySideVisualizer', 'TolerantVisBackend',
    'TrainedOptimWrapperConstructor', 'WarmupCosineLR', 'ZeroShotSegmentation'
]
__all__ += hooks.__all__
