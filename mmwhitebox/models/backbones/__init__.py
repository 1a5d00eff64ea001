from .timm_classifier import TimmClassifier
from .timm_vit import TimmViT
from .whitebox_transformer import WhiteBoxTransformer

__all__ = ['TimmClassifier', 'TimmViT', 'WhiteBoxTransformer']
