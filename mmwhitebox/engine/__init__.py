from .interpret_hooks import CodingRateHook, MembershipVisHook
from .metrics import ModelForMetrics, ZeroShotSegmentation
from .optimizers import Lion
from .visualizer import SideBySideVisualizer

__all__ = [
    'CodingRateHook', 'Lion', 'MembershipVisHook', 'ModelForMetrics', 'SideBySideVisualizer',
    'ZeroShotSegmentation'
]
