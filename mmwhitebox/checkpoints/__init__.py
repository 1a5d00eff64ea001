from .loading import CheckpointError, load_weights, safe_load

__all__ = ['CheckpointError', 'load_weights', 'safe_load']
