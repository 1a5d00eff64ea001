from . import attention, backbones, decode_heads, embeddings, feedforward

__all__ = ['attention', 'backbones', 'decode_heads', 'embeddings', 'feedforward']
