from .convert import convert_official, convert_to_official
from .describe import describe_decoder, describe_official
from .loading import load_weights, safe_load, use_safe_loading
from .package import convert_checkpoint, save_checkpoint, write_atomically

__all__ = [
    'convert_checkpoint', 'convert_official', 'convert_to_official', 'describe_decoder', 'describe_official',
    'load_weights', 'safe_load', 'save_checkpoint', 'use_safe_loading', 'write_atomically'
]
