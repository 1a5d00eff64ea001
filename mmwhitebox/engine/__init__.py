from .acceleration import CompileHook, TF32Hook
from .checkpoint_hook import AtomicCheckpointHook
from .exact_resume import ExactResumeHook
from .finite import FiniteHook
from .interpret_hooks import CodingRateHook, MembershipVisHook
from .metrics import ModelForMetrics, PerClassIoUMetric, ZeroShotSegmentation
from .mixed_precision import BFloat16OptimWrapper
from .onednn import OneDNNHook
from .optimizers import Lion
from .prediction_hooks import LabelMapHook, PictureHook
from .stop_signals import StopOnSignalHook
from .vis_backend import TolerantVisBackend
from .visualizer import SideBySideVisualizer

__all__ = [
    'AtomicCheckpointHook', 'BFloat16OptimWrapper', 'CodingRateHook', 'CompileHook', 'ExactResumeHook', 'FiniteHook',
    'LabelMapHook', 'Lion', 'MembershipVisHook', 'ModelForMetrics', 'OneDNNHook', 'PerClassIoUMetric', 'PictureHook',
    'SideBySideVisualizer', 'StopOnSignalHook', 'TF32Hook', 'TolerantVisBackend', 'ZeroShotSegmentation'
]
