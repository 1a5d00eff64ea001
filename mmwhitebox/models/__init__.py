from . import attention, backbones, decode_heads, embeddings, feedforward, segmentors

__all__ = ['attention', 'backbones', 'decode_heads', 'embeddings', 'feedforward', 'segmentors']
