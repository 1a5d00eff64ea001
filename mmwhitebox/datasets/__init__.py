from .camvid import CamVidDataset
from .image_io import ImageReadError, read_image
from .layout import DatasetLayoutError, check_seg_datasets
from .transforms import LoadImage, LoadSegAnnotation

__all__ = [
    'CamVidDataset', 'DatasetLayoutError', 'ImageReadError', 'LoadImage', 'LoadSegAnnotation',
    'check_seg_datasets', 'read_image'
]
