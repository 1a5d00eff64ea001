from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import (
    attention,
    backbones,
    classifier_init,
    data_preprocessor,
    decode_heads,
    embeddings,
    feedforward,
    losses,
    patch_init,
    rate_reduction,
    segmentors,
    selfsup,
)

__all__ = [
    'attention', 'backbones', 'classifier_init', 'data_preprocessor', 'decode_heads', 'embeddings', 'feedforward',
    'losses', 'patch_init', 'rate_reduction', 'segmentors', 'selfsup'
]
