"""Files of every test image: its label map, a picture of it. For any evaluator and visualizer, on all processes."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor

from mmwhitebox.datasets import read_image
from mmwhitebox.datasets.output_names import dataset_names
from mmwhitebox.drawing import draw_panels
from mmwhitebox.errors import ImageReadError
from mmwhitebox.interpret.plot_style import new_figure, to_array
from mmwhitebox.registry import HOOKS


class PredictionHook(Hook, ABC):
    """Base of the hooks that write a file of every test image.

    It is called as its image below the data set's folder of images; an image that is in no file, by its number.

    Args:
        out_dir (str): Folder to write to.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)
        self.names = {}

    def before_test(self, runner: Runner) -> None:
        """Name the outputs."""
        self.names = dataset_names(runner.test_dataloader.dataset)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                        outputs: Sequence[BaseDataElement] | None = None) -> None:
        """Write the files of a batch."""
        images = data_batch['inputs']
        if not isinstance(images[0], Tensor) or images[0].ndim != 3:  # test-time augmentation: views of the images
            images = images[0]
        for image, sample in zip(images, outputs):
            name = self.names.get(str(sample.get('img_path')), f'{sample.get("sample_idx", 0):05d}')
            file = self.out_dir / f'{name}.png'
            file.parent.mkdir(parents=True, exist_ok=True)
            self.write(file, sample, image, runner.test_dataloader.dataset.metainfo)

    @abstractmethod
    def write(self, file: Path, sample: BaseDataElement, inputs: Tensor, metainfo: dict) -> None:
        """Write the file of one image.

        Args:
            file (Path): PNG file to write.
            sample (BaseDataElement): Prediction and ground truth.
            inputs (Tensor): The image as the pipeline gives it to the model, (C, H, W) in BGR.
            metainfo (dict): ``classes`` and ``palette`` of the data set.
        """


def save_labels(file: str | Path, labels: np.ndarray, palette: Sequence | None = None) -> None:
    """Write a label map as PNG: 8 bit, with the colours of a palette if there is one; 16 bit if labels exceed 255.

    Args:
        file (str | Path): PNG file.
        labels (np.ndarray): (H, W) integers, 0 to 65535.
        palette (Sequence, optional): RGB colours, one for each label. Defaults to None, grey.
    """
    if labels.max(initial=0) > 255:
        Image.fromarray(labels.astype(np.uint16)).save(file)
        return
    image = Image.fromarray(labels.astype(np.uint8))
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8)[:256].ravel().tolist())
    image.save(file)


@HOOKS.register_module()
class LabelMapHook(PredictionHook):
    """Writes the predicted label map of every test image as PNG, in the data set's own encoding.

    With ``reduce_zero_label`` that is class index + 1, as mmseg's ``IoUMetric(output_dir=...)`` writes it and as
    ADE20K's server takes it; 0 is then no class. Without it, it is the class index.

    Args:
        out_dir (str): Folder to write to.
    """

    def write(self, file: Path, sample: SegDataSample, inputs: Tensor, metainfo: dict) -> None:
        labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        save_labels(file, labels + bool(sample.get('reduce_zero_label')))


@HOOKS.register_module()
class PictureHook(PredictionHook):
    """Draws every test image: with ground truth and predicted labels beside it, or with the classes written on it.

    Args:
        out_dir (str): Folder to write to.
    """

    def write(self, file: Path, sample: BaseDataElement, inputs: Tensor, metainfo: dict) -> None:
        if 'pred_sem_seg' not in sample:
            Image.fromarray(captioned(shown_image(sample, inputs, None), class_lines(sample, metainfo))).save(file)
            return
        maps = {title: sample.get(field).data.squeeze(0).cpu().numpy()
                for title, field in (('ground truth', 'gt_sem_seg'), ('prediction', 'pred_sem_seg')) if field in sample}
        image = shown_image(sample, inputs, maps['prediction'].shape)
        picture = draw_panels(image, maps, metainfo['classes'], metainfo['palette'])
        Image.fromarray(picture).save(file)


def class_lines(sample: DataSample, metainfo: dict) -> str:
    """Ground truth and prediction of a classified image, in words."""
    classes = metainfo.get('classes') or ()

    def named(labels: Tensor) -> str:
        return ', '.join(classes[i] if i < len(classes) else str(i) for i in labels.flatten().tolist())

    lines = [f'ground truth: {named(sample.gt_label)}'] if 'gt_label' in sample else []
    scores = sample.pred_score[sample.pred_label].flatten().tolist() if 'pred_score' in sample else []
    return '\n'.join([*lines, f'prediction: {named(sample.pred_label)} {" ".join(f"{s:.2f}" for s in scores)}'])


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    """An image below its text, (h, w, 3) uint8 RGB."""
    figure, (axes, ) = new_figure(1)
    axes.imshow(image)
    axes.set_title(text, fontsize=9, loc='left')
    axes.axis('off')
    return to_array(figure)


def shown_image(sample: BaseDataElement, inputs: Tensor, size: tuple | None) -> np.ndarray:
    """The image of a sample, (H, W, 3) uint8 RGB: of its file or, where that is no such picture, the model's input.

    Args:
        sample (BaseDataElement): Names the file.
        inputs (Tensor): What the model got, (C, H', W') in BGR.
        size (tuple, optional): (H, W) that it must have. None takes any.
    """
    if sample.get('img_path'):
        try:
            image = read_image(sample.img_path)[..., ::-1]
            if size in (None, image.shape[:2]):
                return image
        except ImageReadError:
            pass
    image = inputs[[2, 1, 0] if len(inputs) >= 3 else [0, 0, 0]].permute(1, 2, 0).cpu().float().numpy()
    image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    return image if size is None else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
