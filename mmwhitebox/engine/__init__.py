from .visualizer import SideBySideVisualizer

__all__ = ['SideBySideVisualizer']
