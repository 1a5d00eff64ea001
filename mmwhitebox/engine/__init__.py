from .acceleration import CompileHook, TF32Hook
from .checkpoint_hook import AtomicCheckpointHook
from .interpret_hooks import CodingRateHook, MembershipVisHook
from .metrics import ModelForMetrics, ZeroShotSegmentation
from .optimizers import Lion
from .vis_backend import TolerantVisBackend
from .visualizer import SideBySideVisualizer

__all__ = [
    'AtomicCheckpointHook', 'CodingRateHook', 'CompileHook', 'Lion', 'MembershipVisHook', 'ModelForMetrics',
    'SideBySideVisualizer', 'TF32Hook', 'TolerantVisBackend', 'ZeroShotSegmentation'
]
