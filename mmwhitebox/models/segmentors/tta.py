"""Test-time augmentation whose memory does not grow with views times classes times pixels."""
from typing import List

from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel as MMSegTTAModel
from mmseg.utils import SampleList

from mmwhitebox.registry import MODELS

from .encoder_decoder import EncoderDecoder
from .tiles import LogitMap, merged_label_map


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
            return super().test_step(data)
        samples: List[SampleList] = []
        maps: List[List[LogitMap]] = []
        for inputs, data_samples in zip(data['inputs'], data['data_samples']):
            view = self.module.data_preprocessor(dict(inputs=inputs, data_samples=data_samples), False)
            maps.append(self.module.logit_maps(**view))
            maps[-1][0].windows.finish()  # the images of this view are no longer needed
            samples.append(view['data_samples'])
        for i, sample in enumerate(samples[0]):
            labels = merged_label_map([view[i] for view in maps], self.module.threshold,
                                      self.module.test_option('tile_size'))
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels)))
        return samples[0]
