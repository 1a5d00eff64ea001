from mmwhitebox import stack  # noqa: F401  # isort: skip
from .atomic import save_checkpoint, write_atomically
from .loading import load_weights, safe_load, use_safe_loading
from .official.convert import convert_official, convert_to_official
from .official.describe import describe_official
from .official.describe_decoders import describe_decoder
from .official.files import convert_checkpoint
from .verify import newest_checkpoint, verify_checkpoint

__all__ = [
    'convert_checkpoint', 'convert_official', 'convert_to_official', 'describe_decoder', 'describe_official',
    'load_weights', 'newest_checkpoint', 'safe_load', 'save_checkpoint', 'use_safe_loading', 'verify_checkpoint',
    'write_atomically'
]
