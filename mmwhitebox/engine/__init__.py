from .metrics import ModelForMetrics, ZeroShotSegmentation
from .optimizers import Lion
from .visualizer import SideBySideVisualizer

__all__ = ['Lion', 'ModelForMetrics', 'SideBySideVisualizer', 'ZeroShotSegmentation']
