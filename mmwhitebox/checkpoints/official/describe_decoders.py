"""The decode head that an official state dict holds."""
from mmengine.config import ConfigDict
from torch import Tensor

from mmwhitebox.errors import CheckpointError

from .convert import official_weights
from .describe_vits import SEGMENTATION_NORM_EPS, vit_heads
from .state_shapes import StateDict, agreed_heads, mlp_ratio

DEPICT_HEAD_DIMS, DEPICT_CLASS_HEAD_DIMS = 100, 50
DECODER_POOL_SIZE = 10


def describe_decoder(
        state_dict: dict[str, Tensor], family: str, num_heads: int | None = None) -> ConfigDict:
    """Config of the decode head of an official segmentation model.

    Args:
        state_dict (dict): Official state dict with the keys ``decoder.*``, or a checkpoint that holds it.
        family (str): 'cbt-decoder', 'depict' (mode sa or ca, found by the keys) or 'segmenter' (mask
            transformer or linear).
        num_heads (int, optional): Heads of Segmenter's mask transformer, if its width is no known one.

    Returns:
        ConfigDict: Config of the head, without a loss of its own beyond mmseg's.

    Raises:
        CheckpointError: A key is missing, or the number of heads is not known.
    """
    state = StateDict(official_weights(state_dict, family))
    if family == 'segmenter':
        return ConfigDict(describe_segmenter(state, num_heads))
    return ConfigDict(describe_cbt_decoder(state) if family == 'cbt-decoder' else describe_depict(state))


def describe_cbt_decoder(state: StateDict) -> dict:
    """WhiteBoxMaskHead of the family cbt-decoder."""
    heads = state.shape('decoder.net.layers.0.fn.step_x', 3)[0]
    inner = state.shape('decoder.net.layers.0.fn.proj.weight', 2)[0]
    return whitebox_head(state, state.count('decoder.net.layers'), dict(
        type='CBSA', num_heads=heads, head_dims=inner // heads, pool_size=DECODER_POOL_SIZE))


def describe_depict(state: StateDict) -> dict:
    """WhiteBoxMaskHead of the family depict: mode ca if it has the class net, else sa."""
    crossing = 'decoder.cnorm.weight' in state
    net = 'snet' if crossing else 'net'
    options = {} if not crossing else dict(
        class_attention=depict_attention(state, 'cnet', 'MSCA', DEPICT_CLASS_HEAD_DIMS),
        num_class_layers=state.count('decoder.cnet.layers'))
    return whitebox_head(state, state.count(f'decoder.{net}.layers'),
                         depict_attention(state, net, 'MSSA', DEPICT_HEAD_DIMS), **options)


def depict_attention(state: StateDict, net: str, kind: str, head_dims: int) -> dict:
    """Attention of one of DEPICT's nets."""
    key = f'decoder.{net}.layers.0.fn.proj'
    inner = state.shape(key, 2)[0]
    if inner % head_dims:
        raise CheckpointError(f'{key} has {inner} rows; the heads of DEPICT have {head_dims} each.')
    return dict(type=kind, num_heads=inner // head_dims, head_dims=head_dims, out_proj='shared')


def whitebox_head(state: StateDict, num_layers: int, attention: dict, **options) -> dict:
    """WhiteBoxMaskHead; the official decoders are as wide as their encoder."""
    num_classes, dims = state.shape('decoder.cls_emb', 3)[1:]
    return dict(
        type='mmwhitebox.WhiteBoxMaskHead', in_channels=dims, channels=dims, num_classes=num_classes,
        num_layers=num_layers, attention=attention, **options,
        norm_cfg=dict(type='LN', eps=SEGMENTATION_NORM_EPS))


def describe_segmenter(state: StateDict, num_heads: int | None) -> dict:
    """mmseg's head for Segmenter's mask transformer, or one linear layer."""
    if 'decoder.head.weight' in state:
        num_classes, dims = state.shape('decoder.head.weight', 2)
        return dict(
            type='FCNHead', in_channels=dims, channels=dims, num_classes=num_classes, num_convs=0,
            concat_input=False, dropout_ratio=0.)
    dims, in_channels = state.shape('decoder.proj_dec.weight', 2)
    return dict(
        type='SegmenterMaskTransformerHead', in_channels=in_channels, channels=dims, embed_dims=dims,
        num_classes=state.shape('decoder.cls_emb', 3)[1],
        num_layers=state.count('decoder.blocks'),
        num_heads=agreed_heads(set(), vit_heads(dims), num_heads, dims),
        mlp_ratio=mlp_ratio(state, 'decoder.blocks.0.mlp.fc1.weight', dims),
        drop_path_rate=0., dropout_ratio=0., norm_cfg=dict(type='LN', eps=SEGMENTATION_NORM_EPS))
