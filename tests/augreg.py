"""Writing the weights of a timm ViT as an AugReg archive, the format of Google's released checkpoints."""
from pathlib import Path

import numpy as np
from torch import nn


def save_augreg(vit: nn.Module, path: Path) -> None:
    """Write a timm VisionTransformer to an ``.npz`` file with the names and layouts of the JAX code."""
    dims, heads = vit.embed_dim, vit.blocks[0].attn.num_heads
    arrays = {'embedding/kernel': vit.patch_embed.proj.weight.permute(2, 3, 1, 0),
              'embedding/bias': vit.patch_embed.proj.bias, 'cls': vit.cls_token,
              'Transformer/posembed_input/pos_embedding': vit.pos_embed,
              'Transformer/encoder_norm/scale': vit.norm.weight,
              'Transformer/encoder_norm/bias': vit.norm.bias}
    for i, block in enumerate(vit.blocks):
        root = f'Transformer/encoderblock_{i}/'
        for j, norm in ((0, block.norm1), (2, block.norm2)):
            arrays[f'{root}LayerNorm_{j}/scale'], arrays[f'{root}LayerNorm_{j}/bias'] = norm.weight, norm.bias
        weights, biases = block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3)
        attention = f'{root}MultiHeadDotProductAttention_1/'
        for name, weight, bias in zip(('query', 'key', 'value'), weights, biases):
            arrays[f'{attention}{name}/kernel'] = weight.t().reshape(dims, heads, -1)
            arrays[f'{attention}{name}/bias'] = bias.reshape(heads, -1)
        arrays[f'{attention}out/kernel'] = block.attn.proj.weight.t().reshape(heads, -1, dims)
        arrays[f'{attention}out/bias'] = block.attn.proj.bias
        for j, layer in enumerate((block.mlp.fc1, block.mlp.fc2)):
            arrays[f'{root}MlpBlock_3/Dense_{j}/kernel'] = layer.weight.t()
            arrays[f'{root}MlpBlock_3/Dense_{j}/bias'] = layer.bias
    np.savez(path, **{key: value.detach().numpy() for key, value in arrays.items()})
