from .acceleration import CompileHook, TF32Hook
from .interpret_hooks import CodingRateHook, MembershipVisHook
from .metrics import ModelForMetrics, ZeroShotSegmentation
from .optimizers import Lion
from .visualizer import SideBySideVisualizer

__all__ = [
    'CodingRateHook', 'CompileHook', 'Lion', 'MembershipVisHook', 'ModelForMetrics', 'SideBySideVisualizer',
    'TF32Hook', 'ZeroShotSegmentation'
]
