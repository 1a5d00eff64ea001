from .timm_vit import TimmViT
from .whitebox_transformer import WhiteBoxTransformer

__all__ = ['TimmViT', 'WhiteBoxTransformer']
