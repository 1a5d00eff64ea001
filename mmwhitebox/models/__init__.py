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
