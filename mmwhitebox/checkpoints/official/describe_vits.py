"""The TimmViT that an official state dict holds: by itself, or as the encoder of a segmentation model."""
from mmwhitebox.errors import CheckpointError

from .state_shapes import StateDict, agreed_heads, image_size, mlp_ratio

SEGMENTATION_NORM_EPS = 1e-5  # timm's own ViTs have 1e-6
VIT_HEAD_DIMS = 64
VIT_SIZES = {192: ('tiny', 12), 384: ('small', 12), 768: ('base', 12), 1024: ('large', 24)}
GIANT, GIANT_DIMS, GIANT_HEADS = 'giant', 1536, 24
DINOV3 = {384: 'small', 768: 'base', 1024: 'large'}
DINOV3_GATED = {384: 'small_plus', 1280: 'huge_plus'}
DINOV3_IMG_SIZE = 256
DISTILLED_SIZES = ('tiny', 'small', 'base')


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


def vit_heads(dims: int) -> int | None:
    """Heads of the published ViT of this width."""
    return dims // VIT_HEAD_DIMS if dims in VIT_SIZES else None
