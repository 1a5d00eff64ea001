"""Other people's folders: finding images and annotations, looking at them, and masks out of polygons.

Nothing in the folders is changed. ::

    pairs = split(find_pairs('my_data'))
    findings = look(pairs, limit=200)
    masks = rasterize(pairs, 'cache')  # of polygons and binary files
"""
from .findings import MASK_KINDS, Findings, Value
from .looking import look
from .pairing import find_pairs
from .pairs import CLASSIFICATION, KINDS, POLYGONS, Pairs, Sample
from .rasterizing import rasterize
from .splits import split

__all__ = [
    'CLASSIFICATION', 'KINDS', 'MASK_KINDS', 'POLYGONS', 'Findings', 'Pairs', 'Sample', 'Value', 'find_pairs',
    'look', 'rasterize', 'split'
]
