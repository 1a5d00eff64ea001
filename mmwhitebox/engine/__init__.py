from .acceleration import CompileHook, TF32Hook
from .checkpoint_hook import AtomicCheckpointHook
from .exact_resume import ExactResumeHook
from .finite import FiniteHook
from .interpret_hooks import CodingRateHook, MembershipVisHook
from .metrics import ModelForMetrics, ZeroShotSegmentation
from .optimizers import Lion
from .stop_signals import StopOnSignalHook
from .vis_backend import TolerantVisBackend
from .visualizer import SideBySideVisualizer

__all__ = [
    'AtomicCheckpointHook', 'CodingRateHook', 'CompileHook', 'ExactResumeHook', 'FiniteHook', 'Lion',
    'MembershipVisHook', 'ModelForMetrics', 'SideBySideVisualizer', 'StopOnSignalHook', 'TF32Hook',
    'TolerantVisBackend', 'ZeroShotSegmentation'
]
