"""Test-time augmentation whose memory does not grow with views times classes times pixels."""

from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel as MMSegTTAModel
from mmseg.structures import SegDataSample
from mmseg.utils import SampleList
from torch import Tensor

from mmwhitebox.registry import MODELS

from .encoder_decoder import EncoderDecoder, groups_of_one_size
from .logit_map import LogitMap, merged_label_map


@MODELS.register_module()
class SegTTAModel(MMSegTTAModel):
    """mmseg's ``SegTTAModel``: the label of the largest mean probability over all views.

    The views of an :class:`EncoderDecoder` of this package are merged tile by tile, from the head's logits of
    their windows; results have no ``seg_logits``. Of a one-channel head the sigmoid is taken once; mmseg takes
    it of the probability again, which is then above every threshold up to 0.5. Any other segmentor is treated
    as mmseg does it.

    Args:
        module (dict | nn.Module): The segmentor.
        data_preprocessor (dict | nn.Module, optional): Replaces the segmentor's. Defaults to None.
    """

    def test_step(self, data: dict) -> SampleList:
        """Segment images of which several views are given.

        Args:
            data (dict): ``inputs`` and ``data_samples``, each a list over the views of lists over the images.

        Returns:
            list[SegDataSample]: One per image, with ``pred_sem_seg`` and the ground truth, if there is one.
        """
        if not isinstance(self.module, EncoderDecoder):
            return super().test_step(data)  # pyright: ignore (mmengine's name for a list of samples)
        found: dict[int, SegDataSample] = {}
        for group in groups_of_one_size(data['inputs'][0]):
            part = {key: [[view[i] for i in group] for view in data[key]] for key in ('inputs', 'data_samples')}
            found.update(zip(group, self.merged(**part)))
        return [found[i] for i in range(len(found))]

    def merged(self, inputs: list[list[Tensor]], data_samples: list[SampleList]) -> SampleList:
        """Segment images of one size, see :meth:`test_step`."""
        maps: list[list[LogitMap]] = []
        found: list[SampleList] = []
        for images, samples in zip(inputs, data_samples):
            view = self.module.data_preprocessor(dict(inputs=images, data_samples=samples), False)
            maps.append(self.module.logit_maps(**view))
            maps[-1][0].windows.finish()  # the images of this view are no longer needed
            found.append(view['data_samples'])
        for i, sample in enumerate(found[0]):
            labels = merged_label_map([view[i] for view in maps], self.module.threshold,
                                      self.module.test_option('tile_size'))
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels)))
        return found[0]
