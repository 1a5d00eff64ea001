"""The model that an official state dict belongs to: what the shapes tell, and what is known besides."""
import re

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor

from mmwhitebox.errors import CheckpointError
from mmwhitebox.models.backbones import WhiteBoxTransformer

from .convert import convert_to_official, family_rules, official_weights
from .describe_decoders import describe_decoder
from .describe_vits import describe_dinov3_backbone, describe_vit_backbone, describe_vit_encoder
from .keys import CLASSIFIERS, DEMO_HEAD, SELF_SUPERVISED, VITS
from .state_shapes import StateDict, agreed_heads, head_dims_option, image_size, mlp_ratio, square_side

# What is not in the weights: constants of the official code.
IMAGENET_STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
VIT_STATISTICS = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
NORM_EPS = {'cbt': 1e-5, 'crate': 1e-5, 'crate-alpha': 1e-6, 'crate-alpha-jax': 1e-6, 'tost': 1e-6}
LAST_NORM_EPS = {'crate-alpha': 1e-5, 'crate-alpha-jax': 1e-6}  # where it is not that of the layers in the arch
ISTA = dict(type='ISTA', eta=0.1, lam=0.1)
ODL = dict(type='ODL', eta=0.1, lam=0.1)
DEMO_HEADS = {768: 6}  # of crate-demo.pth, whose width is that of CRATE-B with 12
WINDOW_OVERLAP = 32  # of the published evaluation on ADE20K, 512 and 640
WINDOW_STRIDES = {768: 512, 480: 320}  # Cityscapes, Pascal Context
TOST_IMG_SIZE = 224  # without a position table every size is as good


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
