from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import (
    attention,
    backbones,
    data_preprocessor,
    decode_heads,
    embeddings,
    feedforward,
    losses,
    segmentors,
)

__all__ = [
    'attention', 'backbones', 'data_preprocessor', 'decode_heads', 'embeddings', 'feedforward', 'losses', 'segmentors'
]
