"""CamVid with the usual 11 classes (Brostow et al., 2009; split and classes of SegNet)."""
from mmseg.datasets import BaseSegDataset

from mmwhitebox.registry import DATASETS


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """Street photographs of 480 x 360 pixels, 11 classes, 255 = void.

    Layout: ``images/{train,val}/*.jpg`` and ``annotations/{train,val}/*.png``, class indices 0..10.
    """
    METAINFO = dict(
        classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence', 'car',
                 'pedestrian', 'bicyclist'),
        palette=[[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
                 [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
                 [0, 128, 192]])
