from .camvid import CamVidDataset
from .image_io import read_image
from .layout import check_seg_datasets
from .transforms import LoadImage, LoadSegAnnotation

__all__ = [
    'CamVidDataset', 'LoadImage', 'LoadSegAnnotation', 'check_seg_datasets', 'read_image'
]
