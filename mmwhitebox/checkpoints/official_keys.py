"""State dicts of the official encoders -> those of an mmpretrain classifier with our backbone.

The model is ``ImageClassifier(backbone=WhiteBoxTransformer, head=LinearClsHead)``.
"""
import re
from typing import Dict

from torch import Tensor

# Applied one after another. The convolutional stem counts its activations, ours does not: 0, 2, 4, 6.
CRATE_LAYERS = (
    (r'^cls_token$', 'backbone.cls_token'),
    (r'^pos_embedding$', 'backbone.pos_embed.table'),
    (r'^transformer\.layers\.(\d+)\.0\.norm\.', r'backbone.layers.\1.norm1.'),
    (r'^transformer\.layers\.(\d+)\.0\.fn\.to_out\.0\.', r'backbone.layers.\1.attn.to_out.'),
    (r'^transformer\.layers\.(\d+)\.0\.fn\.qkv\.', r'backbone.layers.\1.attn.proj.'),
    (r'^transformer\.layers\.(\d+)\.0\.fn\.', r'backbone.layers.\1.attn.'),
    (r'^transformer\.layers\.(\d+)\.1\.norm\.', r'backbone.layers.\1.norm2.'),
    (r'^transformer\.layers\.(\d+)\.1\.fn\.', r'backbone.layers.\1.ffn.'),
    (r'^mlp_head\.0\.', 'backbone.norm.'),
    (r'^mlp_head\.1\.', 'head.fc.'),
)
CONV_STEM = ((r'^(?:to_patch_embedding|patch_embed)\.proj\.(\d+)\.',
              lambda match: f'backbone.stem.stages.{int(match[1]) // 2}.'), )
RENAMES = {
    'cbt': CRATE_LAYERS + CONV_STEM,
    'crate': CRATE_LAYERS + (
        (r'^to_patch_embedding\.1\.', 'backbone.stem.norm1.'),
        (r'^to_patch_embedding\.2\.', 'backbone.stem.proj.'),
        (r'^to_patch_embedding\.3\.', 'backbone.stem.norm2.'),
    ),
    'tost': CONV_STEM + (
        (r'^pos_embeder\.token_projection\.', 'backbone.pos_embed.proj.'),
        (r'^(cls_token$|norm\.)', r'backbone.\1'),
        (r'^head\.', 'head.fc.'),
        (r'^(cls_attn_blocks\.\d+)\.attn\.proj\.', r'\1.attn.to_out.'),
        (r'^(blocks\.\d+)\.attn\.qkv\.', r'\1.attn.proj.'),
        (r'^(blocks\.\d+)\.attn\.to_out\.0\.', r'\1.attn.to_out.'),
        (r'^((?:cls_attn_)?blocks\.\d+)\.mlp\.', r'\1.ffn.'),
        (r'^((?:cls_attn_)?blocks\.\d+)\.gamma([12])$', r'\1.scale\2.gamma'),
        (r'^blocks\.', 'backbone.layers.'),
        (r'^cls_attn_blocks\.', 'backbone.class_layers.'),
    ),
}


def convert_encoder(state_dict: Dict[str, Tensor], family: str) -> Dict[str, Tensor]:
    """Rename and reshape the entries of an official classification model.

    Args:
        state_dict (dict): Official state dict.
        family (str): 'cbt' (all models of that repository: CBSA, MSSA, TSSA layers and hybrids), 'crate'
            or 'tost'.

    Returns:
        dict: State dict of the classifier: ``backbone.*`` and ``head.fc.*``. Keys that no rule knows
        keep their names, so that loading reports them.
    """
    converted = {}
    for name, value in state_dict.items():
        for pattern, replacement in RENAMES[family]:
            name = re.sub(pattern, replacement, name)
        if name.startswith('backbone.class_layers.') and '.attn.qkv.' in name:
            width = value.shape[0] // 3
            converted[name.replace('.qkv.', '.q.')] = value[:width]
            converted[name.replace('.qkv.', '.kv.')] = value[width:]
        elif name == 'backbone.pos_embed.proj.weight':  # a 1x1 convolution there, a Linear here
            converted[name] = value.flatten(1)
        else:
            converted[name] = value
    return converted
