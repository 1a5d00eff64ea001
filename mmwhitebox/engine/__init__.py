from mmwhitebox import stack  # noqa: F401  # isort: skip
from .feature_scores import KNNAccuracy, LinearProbeAccuracy
from .feature_validation import FeatureValLoop
from .hooks import (
    AtomicCheckpointHook,
    BesideEMAHook,
    CodingRateHook,
    CompileHook,
    ExactResumeHook,
    FiniteHook,
    InitialWeightsHook,
    LabelMapHook,
    MembershipVisHook,
    PictureHook,
    ReconstructionVisHook,
    ScheduleHook,
    StopOnSignalHook,
    TF32Hook,
    TrainingChecksHook,
    ValidationClassesHook,
)
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
    'AtomicCheckpointHook', 'BFloat16OptimWrapper', 'BesideEMAHook', 'ClassScores', 'CodingRateHook', 'CompileHook',
    'ExactResumeHook', 'FeatureValLoop', 'FiniteHook', 'InitialWeightsHook', 'IoUMetric', 'KNNAccuracy',
    'LabelMapHook', 'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor',
    'LinearProbeAccuracy', 'Lion', 'MembershipVisHook', 'ModelForMetrics', 'PerClassIoUMetric', 'PictureHook',
    'RampedCosineLR', 'ReconstructionVisHook', 'ScheduleHook', 'SideBySideVisualizer', 'StopOnSignalHook',
    'TF32Hook', 'TolerantVisBackend', 'TrainedOptimWrapperConstructor',
    'TrainingChecksHook', 'ValidationClassesHook', 'WarmupCosineLR',
    'ZeroShotSegmentation'
]
