"""CIFAR and SVHN, whose images come as arrays: in BGR order, as every other data set gives them.

mmpretrain's CIFAR classes give RGB, so a model trained on them would see files with the channels swapped.
SVHN it does not have.
"""
import mmengine.dist as dist
import torchvision.datasets
from mmpretrain.datasets import CIFAR10 as RGBCIFAR10
from mmpretrain.datasets import CIFAR100 as RGBCIFAR100
from mmpretrain.datasets import BaseDataset

from mmwhitebox.registry import DATASETS


class SwapChannels:
    """Mixed into a data set of images in memory: RGB becomes BGR."""

    def load_data_list(self) -> list:
        """The samples of the data set, ``img`` an array (H, W, 3) uint8 in BGR order."""
        return [{**info, 'img': info['img'][..., ::-1]} for info in super().load_data_list()]


@DATASETS.register_module()
class CIFAR10(SwapChannels, RGBCIFAR10):
    """mmpretrain's ``CIFAR10`` in BGR order; same arguments."""


@DATASETS.register_module()
class CIFAR100(SwapChannels, RGBCIFAR100):
    """mmpretrain's ``CIFAR100`` in BGR order; same arguments."""


@DATASETS.register_module()
class SVHN(BaseDataset):
    """Street View House Numbers, cropped digits of 32 x 32 (Netzer et al., 2011), read by torchvision.

    Layout: ``train_32x32.mat`` and ``test_32x32.mat`` in ``data_root``.

    Args:
        data_root (str): Folder of the files.
        split (str): 'train' (73 257 images), 'test' (26 032) or 'extra' (531 131). Defaults to 'train'.
        download (bool): Fetch the file if it is not there. Defaults to True.
        **kwargs: Arguments of mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: Unknown split.
        RuntimeError: The file is missing or broken, and was not to be fetched.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, data_root: str, split: str = 'train', download: bool = True, **kwargs) -> None:
        self.split = split
        self.download = download
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list:
        """The samples of the split, ``img`` an array (32, 32, 3) uint8 in BGR order."""
        if self.download and dist.is_main_process():
            torchvision.datasets.SVHN(self.data_root, self.split, download=True)
        dist.barrier()
        files = torchvision.datasets.SVHN(self.data_root, self.split)
        return [dict(img=img.transpose(1, 2, 0)[..., ::-1], gt_label=int(label))
                for img, label in zip(files.data, files.labels)]
