from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import (
    attention,
    backbones,
    classifier_init,
    data_preprocessor,
    decode_heads,
    embeddings,
    feedforward,
    image_classifier,
    losses,
    patch_init,
    rate_reduction,
    segmentors,
    selfsup,
    sparse_rate,
)

__all__ = [
    'attention', 'backbones', 'classifier_init', 'data_preprocessor', 'decode_heads', 'embeddings', 'feedforward',
    'image_classifier', 'losses', 'patch_init', 'rate_reduction', 'segmentors', 'selfsup', 'sparse_rate'
]
