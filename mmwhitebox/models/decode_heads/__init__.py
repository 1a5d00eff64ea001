from .whitebox_mask_head import WhiteBoxMaskHead

__all__ = ['WhiteBoxMaskHead']
