"""Pictures of validation and test, of images that OpenCV does not read too."""
from collections.abc import Sequence

import numpy as np
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook as MMSegVisualizationHook
from mmseg.structures import SegDataSample

from mmwhitebox.registry import HOOKS


@HOOKS.register_module()
class SegVisualizationHook(MMSegVisualizationHook):
    """mmseg's, which reads every image as 8-bit colour by OpenCV.

    Where the data set's metainfo says what is ``shown`` of its images, :class:`SideBySideVisualizer` reads them. Other
    images, and other visualizers, are mmseg's affair. Arguments: mmseg's.
    """

    def _draw(self, outputs: Sequence[SegDataSample], mode: str, step: int) -> None:
        for i, sample in enumerate(outputs):
            name = sample.img_path.replace('\\', '/').rpartition('/')[2]
            self._visualizer.add_datasample(f'{mode}_{name}', np.empty((0, 0, 3), np.uint8), data_sample=sample,
                                            show=self.show, wait_time=self.wait_time, step=step + i)

    def _is_shown(self) -> bool:
        return self.draw and bool((getattr(self._visualizer, 'dataset_meta', None) or {}).get('shown'))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                       outputs: Sequence[SegDataSample]) -> None:
        """Draw the first image of every ``interval``-th batch."""
        if not self._is_shown():
            super().after_val_iter(runner, batch_idx, data_batch, outputs)
        elif (runner.iter + batch_idx) % self.interval == 0:
            self._draw(outputs[:1], 'val', runner.iter + batch_idx)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[SegDataSample]) -> None:
        """Draw every image."""
        if not self._is_shown():
            super().after_test_iter(runner, batch_idx, data_batch, outputs)
            return
        self._draw(outputs, 'test', self._test_index + 1)
        self._test_index += len(outputs)
