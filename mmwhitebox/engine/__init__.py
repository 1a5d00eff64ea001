from mmwhitebox import stack  # noqa: F401  # isort: skip
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
    WarmupCosineLR,
)
from .visualizer import SideBySideVisualizer, TolerantVisBackend

__all__ = [
    'AtomicCheckpointHook', 'BFloat16OptimWrapper', 'BesideEMAHook', 'ClassScores', 'CodingRateHook', 'CompileHook',
    'ExactResumeHook', 'FiniteHook', 'InitialWeightsHook', 'IoUMetric', 'LabelMapHook',
    'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor', 'Lion', 'MembershipVisHook',
    'ModelForMetrics', 'PerClassIoUMetric', 'PictureHook', 'RampedCosineLR', 'ReconstructionVisHook', 'ScheduleHook',
    'SideBySideVisualizer', 'StopOnSignalHook', 'TF32Hook', 'TolerantVisBackend', 'TrainingChecksHook',
    'ValidationClassesHook', 'WarmupCosineLR', 'ZeroShotSegmentation'
]
