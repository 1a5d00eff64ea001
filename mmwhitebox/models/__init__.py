"""What is built from configs: to import it is to register it."""
from mmwhitebox import stack  # noqa: F401  # isort: skip
from . import (  # noqa: F401
    backbones,
    data_preprocessor,
    decode_heads,
    image_classifier,
    initializers,
    losses,
    rate_reduction,
    segmentors,
    selfsup,
    sparse_rate,
)
