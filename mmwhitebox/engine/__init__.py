from mmwhitebox import stack  # noqa: F401  # isort: skip
from .acceleration import CompileHook, TF32Hook
from .checkpoint_hook import AtomicCheckpointHook
from .ema import BesideEMAHook
from .exact_resume import ExactResumeHook
from .finite import FiniteHook
from .initial_weights import InitialWeightsHook
from .interpret_hooks import CodingRateHook, MembershipVisHook
from .layer_decay import LayerDecayOptimizerConstructor, LearningRateDecayOptimizerConstructor
from .metrics import IoUMetric, ModelForMetrics, PerClassIoUMetric, ZeroShotSegmentation
from .mixed_precision import BFloat16OptimWrapper
from .onednn import OneDNNHook
from .optimizers import Lion
from .prediction_hooks import LabelMapHook, PictureHook
from .resume_schedule import ScheduleHook
from .schedulers import RampedCosineLR, WarmupCosineLR
from .stop_signals import StopOnSignalHook
from .vis_backend import TolerantVisBackend
from .visualizer import SideBySideVisualizer

__all__ = [
    'AtomicCheckpointHook', 'BFloat16OptimWrapper', 'BesideEMAHook', 'CodingRateHook', 'CompileHook',
    'ExactResumeHook', 'FiniteHook', 'InitialWeightsHook', 'IoUMetric', 'LabelMapHook',
    'LayerDecayOptimizerConstructor', 'LearningRateDecayOptimizerConstructor', 'Lion', 'MembershipVisHook',
    'ModelForMetrics', 'OneDNNHook', 'PerClassIoUMetric', 'PictureHook', 'RampedCosineLR', 'ScheduleHook',
    'SideBySideVisualizer', 'StopOnSignalHook', 'TF32Hook', 'TolerantVisBackend', 'WarmupCosineLR',
    'ZeroShotSegmentation'
]
