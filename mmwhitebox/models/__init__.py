from . import attention, backbones, decode_heads

__all__ = ['attention', 'backbones', 'decode_heads']
