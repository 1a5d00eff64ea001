"""Files of every test image: its label map, a picture of it. For any evaluator and visualizer, on all processes."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
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

from mmwhitebox.datasets.output_names import dataset_names
from mmwhitebox.datasets.viewable import read_viewable, viewable_input
from mmwhitebox.drawing import View, captioned, draw_panels, save_labels
from mmwhitebox.errors import ImageReadError
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
        shown = metainfo.get('shown')
        if 'pred_sem_seg' not in sample:
            image, note = shown_image(sample, inputs, None, shown)
            text = '\n'.join(filter(None, (class_lines(sample, metainfo), note)))
            Image.fromarray(captioned(image, text)).save(file)
            return
        maps = {title: sample.get(field).data.squeeze(0).cpu().numpy()
                for title, field in (('ground truth', 'gt_sem_seg'), ('prediction', 'pred_sem_seg')) if field in sample}
        image, note = shown_image(sample, inputs, maps['prediction'].shape, shown)
        picture = draw_panels(image, maps, metainfo['classes'], metainfo['palette'], note=note)
        Image.fromarray(picture).save(file)


def class_lines(sample: DataSample, metainfo: dict) -> str:
    """Ground truth and prediction of a classified image, in words."""
    classes = metainfo.get('classes') or ()

    def named(labels: Tensor) -> str:
        return ', '.join(classes[i] if i < len(classes) else str(i) for i in labels.flatten().tolist())

    lines = [f'ground truth: {named(sample.gt_label)}'] if 'gt_label' in sample else []
    scores = sample.pred_score[sample.pred_label].flatten().tolist() if 'pred_score' in sample else []
    return '\n'.join([*lines, f'prediction: {named(sample.pred_label)} {" ".join(f"{s:.2f}" for s in scores)}'])


def shown_image(sample: BaseDataElement, inputs: Tensor, size: tuple | None, shown: dict | None = None) -> View:
    """The image of a sample: of its file or, where that is no such picture, the model's input.

    Args:
        sample (BaseDataElement): Names the file.
        inputs (Tensor): What the model got, (C, H', W') in BGR.
        size (tuple, optional): (H, W) that it must have. None takes any.
        shown (dict, optional): As :func:`mmwhitebox.datasets.viewable.read_viewable` takes it.
    """
    if sample.get('img_path'):
        with suppress(ImageReadError):
            return read_viewable(sample.img_path, size, shown)
    image, note = viewable_input(inputs.cpu().numpy(), shown) if shown else View(np.ascontiguousarray(
        inputs[[2, 1, 0] if len(inputs) >= 3 else [0, 0, 0]].permute(1, 2, 0).cpu().float().numpy()
        .clip(0, 255).astype(np.uint8)))
    return View(image if size is None else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), note)
