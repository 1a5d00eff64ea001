"""The encoders as models of timm: ``import mmwhitebox.timm``, then ``timm.create_model('cbt_small')``."""
from .model import WhiteBoxModel
from .whitebox_transformer import NAMES

__all__ = ['NAMES', 'WhiteBoxModel']
