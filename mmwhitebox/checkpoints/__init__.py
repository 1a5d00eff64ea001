from .loading import load_weights, safe_load

__all__ = ['load_weights', 'safe_load']
