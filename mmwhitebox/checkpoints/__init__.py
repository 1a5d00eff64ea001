from .loading import load_weights, safe_load, use_safe_loading

__all__ = ['load_weights', 'safe_load', 'use_safe_loading']
