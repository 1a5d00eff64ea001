from mmwhitebox import stack  # noqa: F401  # isort: skip
from .broken_samples import watch_workers
from .camvid import CamVidDataset
from .erasing import RandomErasing
from .folder import FolderClsDataset, FolderSegDataset
from .image_io import read_image
from .layout import check_datasets
from .mask_look import look_at_masks
from .small_images import CIFAR10, CIFAR100, SVHN
from .transforms import LoadImage, LoadSegAnnotation

__all__ = [
    'CIFAR10', 'CIFAR100', 'CamVidDataset', 'FolderClsDataset', 'FolderSegDataset', 'LoadImage', 'LoadSegAnnotation',
    'RandomErasing', 'SVHN', 'check_datasets', 'look_at_masks', 'read_image', 'watch_workers'
]
