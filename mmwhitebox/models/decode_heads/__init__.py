from .segmenter_mask_head import SegmenterMaskTransformerHead
from .whitebox_mask_head import WhiteBoxMaskHead

__all__ = ['SegmenterMaskTransformerHead', 'WhiteBoxMaskHead']
