"""The model that an official state dict belongs to: what the shapes tell, and what is known besides."""
import math
import re

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor

from mmwhitebox.errors import CheckpointError, joined
from mmwhitebox.models.backbones import WhiteBoxTransformer

from .convert import convert_to_official, family_rules, official_weights
from .keys import CLASSIFIERS, DEMO_HEAD, SELF_SUPERVISED, VITS

# What is not in the weights: constants of the official code.
IMAGENET_STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
VIT_STATISTICS = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
NORM_EPS = {'cbt': 1e-5, 'crate': 1e-5, 'crate-alpha': 1e-6, 'crate-alpha-jax': 1e-6, 'tost': 1e-6}
LAST_NORM_EPS = {'crate-alpha': 1e-5, 'crate-alpha-jax': 1e-6}  # where it is not that of the layers in the arch
SEGMENTATION_NORM_EPS = 1e-5  # timm's own ViTs have 1e-6
ISTA = dict(type='ISTA', eta=0.1, lam=0.1)
ODL = dict(type='ODL', eta=0.1, lam=0.1)
DEPICT_HEAD_DIMS, DEPICT_CLASS_HEAD_DIMS = 100, 50
DECODER_POOL_SIZE = 10
DEMO_HEADS = {768: 6}  # of crate-demo.pth, whose width is that of CRATE-B with 12
WINDOW_OVERLAP = 32  # of the published evaluation on ADE20K, 512 and 640
WINDOW_STRIDES = {768: 512, 480: 320}  # Cityscapes, Pascal Context
TOST_IMG_SIZE = 224  # without a position table every size is as good

VIT_HEAD_DIMS = 64
VIT_SIZES = {192: ('tiny', 12), 384: ('small', 12), 768: ('base', 12), 1024: ('large', 24)}
GIANT, GIANT_DIMS, GIANT_HEADS = 'giant', 1536, 24
DINOV3 = {384: 'small', 768: 'base', 1024: 'large'}
DINOV3_GATED = {384: 'small_plus', 1280: 'huge_plus'}
DINOV3_IMG_SIZE = 256
DISTILLED_SIZES = ('tiny', 'small', 'base')
ImageSize = int | tuple[int, int]


class StateDict:
    """An official state dict as its description reads it: shapes by key, with errors that name the key."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def __contains__(self, key: str) -> bool:
        return key in self.tensors

    def shape(self, key: str, dims: int | None = None) -> tuple[int, ...]:
        """Shape of an entry that has to be there, with ``dims`` axes if given."""
        if key not in self.tensors:
            raise CheckpointError(f'The state dict lacks {key}.')
        shape = tuple(self.tensors[key].shape)
        if dims is not None and len(shape) != dims:
            raise CheckpointError(f'{key} has the shape {shape}; {dims} axes were expected.')
        return shape

    def count(self, prefix: str, mark: str = '.') -> int:
        """Number of layers ``PREFIX.0`` to ``PREFIX.n-1``, with ``mark`` before the number; a gap is an error."""
        pattern = re.compile(rf'{re.escape(prefix + mark)}(\d+)[./]')
        found = {int(match[1]) for key in self.tensors if (match := pattern.match(key))}
        missing = sorted(set(range(max(found, default=0) + 1)) - found)
        if missing:
            raise CheckpointError(f'The state dict lacks {joined([f"{prefix}{mark}{i}" for i in missing])}.')
        return len(found)


def square_side(number: int, key: str) -> int:
    """Side of a square of so many pixels."""
    side = math.isqrt(max(number, 0))
    if side == 0 or side**2 != number:
        raise CheckpointError(f'{key} is made for patches of {number} pixels, which is no square.')
    return side


def image_size(num_patches: int, key: str, patch_size: int, given: tuple[int, int] | None) -> ImageSize:
    """Image size of a position table: what is given, as far as it fits, else that of a square grid."""
    if given is not None:
        height, width = given
        if min(given) <= 0 or height % patch_size or width % patch_size:
            raise CheckpointError(f'--img-size {height} {width}: both are multiples of the patch, {patch_size}.')
        if (height // patch_size) * (width // patch_size) != num_patches:
            raise CheckpointError(f'{key} has rows for {num_patches} patches of {patch_size} pixels; --img-size '
                                  f'{height} {width} makes {height // patch_size} x {width // patch_size}.')
        return height if height == width else (height, width)
    side = math.isqrt(max(num_patches, 0))
    if side == 0 or side**2 != num_patches:
        raise CheckpointError(f'{key} has rows for {num_patches} patches, which is no square grid: say for which image '
                              'size it was made (--img-size HEIGHT WIDTH).')
    return side * patch_size


def mlp_ratio(state: StateDict, key: str, dims: int) -> int:
    """Hidden width of an MLP over its width."""
    hidden = state.shape(key, 2)[0]
    if hidden % dims:
        raise CheckpointError(f'{key} has {hidden} rows, which is no multiple of the width {dims}.')
    return hidden // dims


def agreed_heads(told: set, known: int | None, num_heads: int | None, dims: int) -> int:
    """Number of heads: what the shapes tell, else what is given, else that of a known model of this width.

    Raises:
        CheckpointError: Nothing tells, or the shapes tell something else than what is given.
    """
    if len(told) > 1 or (told and num_heads is not None and told != {num_heads}):
        raise CheckpointError(f'The weights have {" and ".join(map(str, sorted(told)))} heads'
                              + ('.' if num_heads is None else f', but num_heads={num_heads} was given.'))
    heads = told.pop() if told else num_heads or known
    if heads is None:
        raise CheckpointError(f'The number of heads is not in the weights, and no known model has the width '
                              f'{dims}: give num_heads (--num-heads).')
    return heads


def head_dims_option(inner: int, heads: int, dims: int, key: str) -> dict:
    """``head_dims`` unless it is the default."""
    if inner % heads:
        raise CheckpointError(f'{key} has {inner} rows, which {heads} heads do not divide.')
    return {} if inner == dims else dict(head_dims=inner // heads)


def named_arch(family: str, settings: dict) -> object:
    """Name of the encoder whose width, depth and heads these are, or an arch dict."""
    names = [name for name in WhiteBoxTransformer.arch_zoo if re.fullmatch(rf'{family}-[a-z]+(-\d+)?', name)]
    for name in names:
        if all(WhiteBoxTransformer.arch_zoo[name][key] == value for key, value in settings.items()):
            return name
    return {**WhiteBoxTransformer.arch_zoo[names[0]], **settings}


def known_heads(family: str, dims: int) -> int | None:
    """Heads of the published encoder of a family with this width."""
    return next((arch['num_heads'] for name, arch in WhiteBoxTransformer.arch_zoo.items()
                 if re.fullmatch(rf'{family}-[a-z]+(-\d+)?', name) and arch['embed_dims'] == dims), None)


def conv_stem(state: StateDict, prefix: str) -> dict:
    """Patch size and image channels of a convolutional stem."""
    num_convs = len({key for key in state.tensors if re.match(rf'{re.escape(prefix)}\.\d+\.0\.weight$', key)})
    return dict(patch_size=2**num_convs, in_channels=state.shape(f'{prefix}.0.0.weight', 4)[1])


def crate_stem(state: StateDict) -> dict:
    """Patch size of a linear stem on RGB images."""
    inputs = state.shape('to_patch_embedding.1.weight', 1)[0]
    return dict(patch_size=square_side(inputs // 3, 'to_patch_embedding.1.weight'), in_channels=3)


def describe_layer(state: StateDict, layer: str, heads: int, dims: int) -> dict:
    """Attention of one layer of the CRATE skeleton, by the keys it has."""
    key = next(key for key in (f'{layer}.proj.weight', f'{layer}.qkv.weight') if key in state)
    option = head_dims_option(state.shape(key, 2)[0], heads, dims, key)
    if key.endswith('.proj.weight'):
        return dict(type='CBSA', pool_tokens='official', **option)
    if f'{layer}.temp' in state:
        return dict(type='TSSA', **option)
    has_output = any(f'{layer}.to_out.{name}' in state for name in ('weight', '0.weight'))
    return dict(type='MSSA', **option) if has_output else dict(type='MSSA', out_proj=None, **option)


def describe_crate_skeleton(state: StateDict, family: str, num_heads: int | None,
                            img_size: tuple[int, int] | None) -> dict:
    """Backbone of the families cbt and crate."""
    rows, dims = state.shape('pos_embedding', 3)[1:]
    num_layers = state.count('transformer.layers')
    layers = [f'transformer.layers.{i}.0.fn' for i in range(num_layers)]
    for layer in layers:
        if f'{layer}.proj.weight' not in state and f'{layer}.qkv.weight' not in state:
            raise CheckpointError(f'The state dict lacks {layer}.proj.weight (CBSA) or {layer}.qkv.weight '
                                  '(MSSA, TSSA).')
    told = {state.shape(key)[0] for layer in layers
            for key in (f'{layer}.step_x', f'{layer}.temp') if key in state}
    if family == 'crate' and f'{layers[0]}.to_out.0.weight' not in state:
        told.add(1)  # CRATE leaves the output map out for one head of the full width only
    known = DEMO_HEADS.get(dims) if DEMO_HEAD in state else known_heads(family, dims)
    heads = agreed_heads(told, known, num_heads, dims)
    attention = [describe_layer(state, layer, heads, dims) for layer in layers]
    stem = conv_stem(state, 'to_patch_embedding.proj') if family == 'cbt' else crate_stem(state)
    return dict(
        arch=named_arch(family, dict(embed_dims=dims, num_heads=heads, num_layers=num_layers)),
        img_size=image_size(rows - 1, 'pos_embedding', stem['patch_size'], img_size),
        **stem,
        interpolate_mode='dino',
        attention=attention[0] if attention.count(attention[0]) == num_layers else attention,
        feedforward=dict(ISTA))


def describe_crate_alpha(state: StateDict, family: str, num_heads: int | None,
                         img_size: tuple[int, int] | None) -> dict:
    """Backbone of the families crate-alpha and crate-alpha-jax."""
    if family == 'crate-alpha':
        dims, in_channels, patch_size = state.shape('conv1.weight', 4)[:3]
        positions, num_layers, told = 'pos_embedding', state.count('transformer.layers'), set()
        inner, atoms = 'transformer.layers.0.0.fn.qkv.weight', 'transformer.layers.0.1.fn.D'
        width = state.shape(inner, 2)[0]
    else:
        patch_size, _, in_channels, dims = state.shape('params/embedding/kernel', 4)
        positions, num_layers = 'params/pos_embedding', state.count('params/Transformer/encoderblock', '_')
        block = 'params/Transformer/encoderblock_0'
        inner = f'{block}/MultiHeadDotProductSubspaceAttention_0/proj/kernel'
        atoms = f'{block}/OvercompleteISTABlock_0/D'
        heads, head_dims = state.shape(inner, 3)[1:]
        told, width = {heads}, heads * head_dims
    heads = agreed_heads(told, known_heads('crate-alpha', dims), num_heads, dims)
    ratio, rest = divmod(state.shape(atoms, 2)[1], dims)
    if rest or not ratio:
        raise CheckpointError(f'{atoms} has {state.shape(atoms)[1]} atoms, which is no multiple of the width {dims}.')
    return dict(
        arch=named_arch('crate-alpha', dict(embed_dims=dims, num_heads=heads, num_layers=num_layers)),
        img_size=image_size(state.shape(positions, 3)[1] - 1, positions, patch_size, img_size),
        patch_size=patch_size,
        in_channels=in_channels,
        attention=dict(type='MSSA', out_bias=False, **head_dims_option(width, heads, dims, inner)),
        feedforward=dict(ODL, ratio=ratio),
        final_norm=dict(type='LN', eps=LAST_NORM_EPS[family]))


def describe_tost(state: StateDict, num_heads: int | None) -> dict:
    """Backbone of the family tost."""
    dims = state.shape('cls_token', 3)[2]
    num_layers = state.count('blocks')
    told = {state.shape(f'blocks.{i}.attn.temp')[0] for i in range(num_layers)}
    settings = dict(
        embed_dims=dims, num_heads=agreed_heads(told, None, num_heads, dims), num_layers=num_layers,
        num_class_layers=state.count('cls_attn_blocks'))
    return dict(
        arch=named_arch('tost', settings),
        img_size=TOST_IMG_SIZE,
        **conv_stem(state, 'patch_embed.proj'),
        attention=dict(type='TSSA', qkv_bias='blocks.0.attn.qkv.bias' in state),
        feedforward=dict(type='MLP', ratio=mlp_ratio(state, 'blocks.0.mlp.fc1.weight', dims)))


def describe_classifier(state: StateDict, family: str, num_heads: int | None,
                        img_size: tuple[int, int] | None) -> dict:
    """ImageClassifier of the families in CLASSIFIERS."""
    if family == 'tost' and img_size is not None:
        raise CheckpointError('--img-size: ToST has no position table, every image size is as good.')
    if family == 'tost':
        backbone = describe_tost(state, num_heads)
    else:
        describe = describe_crate_alpha if family.startswith('crate-alpha') else describe_crate_skeleton
        backbone = describe(state, family, num_heads, img_size)
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(type='ClsDataPreprocessor', **IMAGENET_STATISTICS, to_rgb=True),
        backbone=dict(type='mmwhitebox.WhiteBoxTransformer', **backbone,
                      norm_cfg=dict(type='LN', eps=NORM_EPS[family])),
        head=describe_head(state, family))


def describe_head(state: StateDict, family: str) -> dict:
    """Head of a classifier: one Linear, or the two of CRATE's demo, without an activation between (**reading**)."""
    if DEMO_HEAD in state and family == 'crate':
        num_classes, mid = state.shape(DEMO_HEAD, 2)
        return dict(type='StackedLinearClsHead', num_classes=num_classes, act_cfg=None, mid_channels=[mid],
                    in_channels=state.shape('mlp_head.1.weight', 2)[1])
    key = {'crate-alpha-jax': 'params/head/kernel', **dict.fromkeys(('tost', *VITS), 'head.weight')}.get(
        family, 'mlp_head.1.weight')
    num_classes, dims = state.shape(key, 2)[::-1 if family == 'crate-alpha-jax' else 1]
    return dict(type='LinearClsHead', num_classes=num_classes, in_channels=dims)


def describe_vit(state: StateDict, family: str, num_heads: int | None, img_size: tuple[int, int] | None) -> dict:
    """ImageClassifier of the families vit and vit-cbsa; without a head if the weights have none."""
    with_head = 'head.weight' in state
    if 'pos_embed' in state:
        backbone = describe_vit_backbone(state, num_heads, img_size)
        if not with_head and 'reg_token' not in state:
            backbone['interpolate_mode'] = 'dino'
    else:
        backbone = describe_dinov3_backbone(state, img_size)
    adapted = dict(attention='agent', pool_tokens='official') if family == 'vit-cbsa' else {}
    return dict(
        type='ImageClassifier',
        data_preprocessor=dict(type='ClsDataPreprocessor', **IMAGENET_STATISTICS, to_rgb=True),
        backbone=dict(**backbone, out_type='cls_token', **adapted),
        **(dict(head=describe_head(state, family)) if with_head else {}))


def describe_vit_backbone(state: StateDict, num_heads: int | None, img_size: tuple[int, int] | None) -> dict:
    """TimmViT of a ViT with a position table: AugReg, DeiT, DINO, DINOv2, with or without registers."""
    dims, in_channels, patch_size = state.shape('patch_embed.proj.weight', 4)[:3]
    registers = state.shape('reg_token', 3)[1] if 'reg_token' in state else 0
    rows = state.shape('pos_embed', 3)[1]
    distilled, scaled = 'dist_token' in state, 'blocks.0.ls1.gamma' in state
    found = dict(embed_dim=dims, depth=state.count('blocks'), patch_size=patch_size)
    size = GIANT if dims == GIANT_DIMS else VIT_SIZES.get(dims, VIT_SIZES[384])[0]
    if scaled:
        size = 'small' if size == 'tiny' else size  # the smallest of the name
        name = f'vit_{size}_patch14_{"reg4_" if registers else ""}dinov2'
        if size != GIANT:
            found['mlp_ratio'] = mlp_ratio(state, 'blocks.0.mlp.fc1.weight', dims)
        if registers not in (0, 4):
            found['reg_tokens'] = registers
    else:
        name = f'vit_{size}_patch16_224' if not distilled else \
            f'deit_{size if size in DISTILLED_SIZES else DISTILLED_SIZES[-1]}_distilled_patch16_224'
        found['mlp_ratio'] = mlp_ratio(state, 'blocks.0.mlp.fc1.weight', dims)
    found['num_heads'] = agreed_heads(set(), GIANT_HEADS if size == GIANT else vit_heads(dims), num_heads, dims)
    return dict(
        type='mmwhitebox.TimmViT',
        model_name=name,
        img_size=image_size(rows - (0 if registers else 1 + distilled), 'pos_embed', patch_size, img_size),
        in_channels=in_channels,
        model_kwargs=found)


def describe_dinov3_backbone(state: StateDict, img_size: tuple[int, int] | None) -> dict:
    """TimmViT of a DINOv3, whose positions are rotations; every image size is as good."""
    dims, in_channels, patch_size = state.shape('patch_embed.proj.weight', 4)[:3]
    gated = 'blocks.0.mlp.fc1_g.weight' in state
    name = DINOV3_GATED.get(dims) if gated else DINOV3.get(dims)
    if name is None:
        raise CheckpointError(f'patch_embed.proj.weight has the width {dims}, which no DINOv3 of timm has'
                              f'{" with a gated MLP" if gated else ""}.')
    biased = '_qkvb' if 'blocks.0.attn.q_bias' in state else ''
    size = img_size or (DINOV3_IMG_SIZE, DINOV3_IMG_SIZE)
    return dict(
        type='mmwhitebox.TimmViT',
        model_name=f'vit_{name}_patch16_dinov3{biased}',
        img_size=size[0] if size[0] == size[1] else size,
        in_channels=in_channels,
        model_kwargs=dict(depth=state.count('blocks'), patch_size=patch_size))


def describe_crate_mae(state: StateDict, num_heads: int | None, img_size: tuple[int, int] | None) -> dict:
    """CRATEMAE of the family crate-mae."""
    dims, in_channels, patch_size = state.shape('patch_embed.proj.weight', 4)[:3]
    inner, num_layers, depth = 'blocks.0.layers.0.0.fn.qkv.weight', state.count('blocks'), state.count('decoder_blocks')
    heads = agreed_heads(set(), known_heads('crate-mae', dims), num_heads, dims)
    attention = dict(type='MSSA', **head_dims_option(state.shape(inner, 2)[0], heads, dims, inner))
    positions = 'decoder_pos_embed' if 'decoder_pos_embed' in state else 'pos_embed'
    return dict(
        type='mmwhitebox.CRATEMAE',
        data_preprocessor=dict(type='ClsDataPreprocessor', **IMAGENET_STATISTICS, to_rgb=True),
        backbone=dict(
            type='mmwhitebox.WhiteBoxTransformer',
            arch=named_arch('crate-mae', dict(embed_dims=dims, num_heads=heads, num_layers=num_layers)),
            img_size=image_size(state.shape(positions, 3)[1] - 1, positions, patch_size, img_size),
            patch_size=patch_size, in_channels=in_channels, attention=attention, feedforward=dict(ISTA, lam=0.5)),
        neck=dict(type='mmwhitebox.CRATEMAEDecoder', num_layers=depth, attention=attention),
        head=dict(type='mmwhitebox.CRATEMAEHead', norm_pix=False))


def describe_vit_encoder(state: StateDict, num_heads: int | None, img_size: tuple[int, int] | None) -> dict:
    """TimmViT of a segmentation model, with the official rule for positions and eps."""
    dims, in_channels, patch_size = state.shape('encoder.patch_embed.proj.weight', 4)[:3]
    distilled = 'encoder.dist_token' in state
    num_patches = state.shape('encoder.pos_embed', 3)[1] - 1 - distilled
    size, depth = VIT_SIZES.get(dims, VIT_SIZES[384])
    if distilled:
        size = size if size in DISTILLED_SIZES else DISTILLED_SIZES[-1]
        depth, name = 12, f'deit_{size}_distilled_patch16_224'
    else:
        name = f'vit_{size}_patch16_384'
    found = dict(
        embed_dim=dims,
        depth=state.count('encoder.blocks'),
        num_heads=agreed_heads(set(), vit_heads(dims), num_heads, dims),
        patch_size=patch_size,
        mlp_ratio=mlp_ratio(state, 'encoder.blocks.0.mlp.fc1.weight', dims))
    own_dims = next(width for width, (known, _) in VIT_SIZES.items() if known == size)
    own = dict(embed_dim=own_dims, depth=depth, num_heads=vit_heads(own_dims), patch_size=16, mlp_ratio=4)
    changes = {key: value for key, value in found.items() if value != own[key]}
    return dict(
        type='mmwhitebox.TimmViT',
        model_name=name,
        img_size=image_size(num_patches, 'encoder.pos_embed', patch_size, img_size),
        in_channels=in_channels,
        interpolate_mode='bilinear',
        norm_eps=SEGMENTATION_NORM_EPS,
        **(dict(model_kwargs=changes) if changes else {}))


def vit_heads(dims: int) -> int | None:
    """Heads of the published ViT of this width."""
    return dims // VIT_HEAD_DIMS if dims in VIT_SIZES else None


def whitebox_head(state: StateDict, num_layers: int, attention: dict, **options) -> dict:
    """WhiteBoxMaskHead; the official decoders are as wide as their encoder."""
    num_classes, dims = state.shape('decoder.cls_emb', 3)[1:]
    return dict(
        type='mmwhitebox.WhiteBoxMaskHead', in_channels=dims, channels=dims, num_classes=num_classes,
        num_layers=num_layers, attention=attention, **options,
        norm_cfg=dict(type='LN', eps=SEGMENTATION_NORM_EPS))


def describe_cbt_decoder(state: StateDict) -> dict:
    """WhiteBoxMaskHead of the family cbt-decoder."""
    heads = state.shape('decoder.net.layers.0.fn.step_x', 3)[0]
    inner = state.shape('decoder.net.layers.0.fn.proj.weight', 2)[0]
    return whitebox_head(state, state.count('decoder.net.layers'), dict(
        type='CBSA', num_heads=heads, head_dims=inner // heads, pool_size=DECODER_POOL_SIZE))


def depict_attention(state: StateDict, net: str, kind: str, head_dims: int) -> dict:
    """Attention of one of DEPICT's nets."""
    key = f'decoder.{net}.layers.0.fn.proj'
    inner = state.shape(key, 2)[0]
    if inner % head_dims:
        raise CheckpointError(f'{key} has {inner} rows; the heads of DEPICT have {head_dims} each.')
    return dict(type=kind, num_heads=inner // head_dims, head_dims=head_dims, out_proj='shared')


def describe_depict(state: StateDict) -> dict:
    """WhiteBoxMaskHead of the family depict: mode ca if it has the class net, else sa."""
    crossing = 'decoder.cnorm.weight' in state
    net = 'snet' if crossing else 'net'
    options = {} if not crossing else dict(
        class_attention=depict_attention(state, 'cnet', 'MSCA', DEPICT_CLASS_HEAD_DIMS),
        num_class_layers=state.count('decoder.cnet.layers'))
    return whitebox_head(state, state.count(f'decoder.{net}.layers'),
                         depict_attention(state, net, 'MSSA', DEPICT_HEAD_DIMS), **options)


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


def describe_segmentor(state: StateDict, family: str, num_heads: int | None,
                       img_size: tuple[int, int] | None) -> dict:
    """EncoderDecoder with a TimmViT."""
    encoder = describe_vit_encoder(state, num_heads, img_size)
    head = describe_decoder(state.tensors, family, num_heads)
    crop = encoder['img_size'] if isinstance(encoder['img_size'], tuple) else (encoder['img_size'], ) * 2
    stride = tuple(WINDOW_STRIDES.get(side, max(side - WINDOW_OVERLAP, 1)) for side in crop)
    statistics = IMAGENET_STATISTICS if 'encoder.dist_token' in state else VIT_STATISTICS
    return dict(
        type='mmwhitebox.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', **statistics, bgr_to_rgb=True, pad_val=0, seg_pad_val=255,
            size=crop),
        backbone=encoder,
        decode_head=dict(
            **head, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, avg_non_ignore=True)),
        test_cfg=dict(mode='slide', crop_size=crop, stride=stride, enlarge=True, val=dict(stride=crop)))


def describe_official(
        state_dict: dict[str, Tensor], family: str, num_heads: int | None = None,
        img_size: tuple[int, int] | None = None) -> ConfigDict:
    """Config of the model that official weights belong to.

    Read from the shapes: width, depth, classes, patch size, position grid (square unless ``img_size`` is given), the
    attention of every layer, the kind of decoder, and the heads where a parameter has one entry per head. From the
    official code, since weights do not tell: eps of the norms, the step and threshold of ISTA and ODL, the pooling
    of the classification CBSA over the class token (``pool_tokens='official'``), the pool of the decoder,
    the heads of DEPICT, the rule for positions of other sizes (``interpolate_mode='bilinear'`` in segmentation,
    'dino' in the classifiers of CBT and CRATE), the windows of the evaluation, mean and std. An encoder with a
    distillation token has ImageNet's mean and std, as DeiT; a DeiT without one looks like any ViT and needs them
    set by hand.

    Args:
        state_dict (dict): Official state dict, or a checkpoint that holds it.
        family (str): As in :func:`mmwhitebox.checkpoints.convert_official`.
        num_heads (int, optional): Needed when neither the weights nor a known width tell it; for a
            segmentation model, of the encoder and of Segmenter's decoder. Defaults to None.
        img_size (tuple[int, int], optional): Image size (height, width) in pixels of a position table, which is not
            in the weights unless it is square. Defaults to None.

    Returns:
        ConfigDict: Config of an mmpretrain ``ImageClassifier``, an mmseg ``EncoderDecoder`` or a ``CRATEMAE`` (whose
        weights do not tell whether targets were standardised: ``head.norm_pix`` is False); with the weights of
        ``convert_official`` it computes what the official model computes.

    Raises:
        CheckpointError: A key is missing, a shape is not that of the family, or the heads are not known.
        ValueError: Unknown family.
    """
    family_rules(family)
    state = StateDict(official_weights(state_dict, family))
    if family in SELF_SUPERVISED:
        return ConfigDict(describe_crate_mae(state, num_heads, img_size))
    describe = describe_vit if family in VITS else \
        describe_classifier if family in CLASSIFIERS else describe_segmentor
    return ConfigDict(describe(state, family, num_heads, img_size))


def default_scope(family: str) -> str:
    """Scope in which the model of a family is built."""
    return 'mmpretrain' if family in (*CLASSIFIERS, *SELF_SUPERVISED) else 'mmseg'


def missing_or_reshaped(state_dict: dict[str, Tensor], family: str, model: ConfigDict) -> list[str]:
    """Keys in which a model differs from official weights, under their official names.

    Args:
        state_dict (dict): Official state dict.
        family (str): Its family.
        model (ConfigDict): From :func:`describe_official`.

    Returns:
        list[str]: One entry per key that is missing or has another shape.
    """
    state_dict = official_weights(state_dict, family)
    head = 'head' if family in CLASSIFIERS else 'decode_head'
    num_heads = None
    with MODELS.switch_scope_and_registry(default_scope(family)) as registry:
        if family in SELF_SUPERVISED:
            with torch.device('meta'):
                own = registry.build(model).state_dict()
        else:
            parts = {head: registry.build(model[head])} if head in model else {}
            with torch.device('meta'):
                parts['backbone'] = registry.build(model.backbone)
            num_heads = parts['backbone'].layers[0].attn.num_heads if family == 'crate-alpha-jax' else None
            own = {f'{name}.{key}': value for name, part in parts.items() for key, value in part.state_dict().items()}
    expected = convert_to_official(own, family, num_heads)
    return [
        key if key not in state_dict else
        f'{key} of the shape {tuple(value.shape)} (it is {tuple(state_dict[key].shape)})'
        for key, value in expected.items()
        if key not in state_dict or state_dict[key].shape != value.shape
    ]
