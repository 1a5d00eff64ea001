"""What is drawn and logged: pictures of a segmentation side by side, values on a disk that may fill up."""
import logging
import os
from pathlib import Path

import mmcv
import numpy as np
from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.visualization import LocalVisBackend
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmwhitebox.datasets.viewable import read_viewable
from mmwhitebox.drawing import draw_panels
from mmwhitebox.registry import VISBACKENDS, VISUALIZERS


@VISUALIZERS.register_module()
class SideBySideVisualizer(SegLocalVisualizer):
    """mmseg's visualizer, drawing image | ground truth | prediction in one picture with a legend.

    Works with mmseg's ``SegVisualizationHook`` and every backend. Of images that are no photographs, ``shown`` of the
    data set's metainfo says what is drawn; :class:`mmwhitebox.engine.hooks.SegVisualizationHook` hands over any file.

    Args:
        **kwargs: Arguments of ``SegLocalVisualizer``; ``alpha`` is the opacity of the colours.
    """

    @master_only
    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: SegDataSample | None = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: str | None = None,
                       step: int = 0,
                       **kwargs) -> None:
        """Draw one sample and hand it to the backends; arguments as in ``SegLocalVisualizer``."""
        wanted = ('ground truth', 'gt_sem_seg', draw_gt), ('prediction', 'pred_sem_seg', draw_pred)
        maps = {title: data_sample.get(field).data.squeeze(0).long().cpu().numpy() for title, field, draw in wanted
                if draw and data_sample is not None and field in data_sample}
        shown, note = self.dataset_meta.get('shown'), ''
        if shown and data_sample is not None and data_sample.get('img_path'):
            image, note = read_viewable(data_sample.img_path, data_sample.get('ori_shape'), shown)
        drawn = image
        if maps:
            drawn = draw_panels(image, maps, self.dataset_meta['classes'], self.dataset_meta['palette'],
                                self.alpha, note)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)
        else:
            self.add_image(name, drawn, step)


@VISBACKENDS.register_module()
class TolerantVisBackend(LocalVisBackend):
    """mmengine's ``LocalVisBackend``, for which a full disk is no reason to end a training.

    Values that cannot be written are left out, with one warning for each stretch of failures; half a line is taken
    back, so the JSON files stay readable.

    Args:
        save_dir (str): Folder to write to. mmengine's visualizer goes by its name: without a folder it leaves the
            backend out.
        **kwargs: Other arguments of ``LocalVisBackend``.
    """

    def __init__(self, save_dir: str, **kwargs) -> None:
        super().__init__(save_dir, **kwargs)
        self.failing = False

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        path = Path(file_path)
        size = path.stat().st_size if path.is_file() else 0
        try:
            super()._dump(value_dict, file_path, file_format)
            self.failing = False
        except OSError as error:
            if path.is_file():
                os.truncate(path, size)
            if not self.failing:
                print_log(f'Logged values are missing from {file_path} ({error.strerror}). Training goes on.',
                          logger='current', level=logging.WARNING)
            self.failing = True
