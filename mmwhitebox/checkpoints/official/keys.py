"""The key layouts of the official implementations beside ours: one table of renames per family.

A row is read in both directions. ``{i}`` stands for an index, ``{2i}`` for twice that index, ``*`` for the
last part of a key (``weight``, ``bias``, ``running_mean``, ...).
"""
import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """How the values of a row are laid out: one official tensor <-> our tensor or tensors.

    With ``by_head`` the official tensor has an axis of the heads, and ``to_official`` takes their number as well.
    """

    to_ours: Callable[[Tensor], Sequence[Tensor]]
    to_official: Callable[..., Tensor]
    by_head: bool = False


SAME = Layout(lambda value: [value], lambda value: value)
TRANSPOSED = Layout(  # multiplies from the right there, a Linear here
    lambda value: [value.t().contiguous()], lambda value: value.t().contiguous())
POINTWISE_CONV = Layout(  # a 1x1 convolution there, a Linear here
    lambda value: [value.flatten(1)], lambda value: value[..., None, None])
POINTWISE_LINEAR = Layout(  # a Linear there, a 1x1 convolution here
    lambda value: [value[..., None, None]], lambda value: value.flatten(1))
QUERY_AND_KEY_VALUE = Layout(  # [q; k; v] there, q and [k; v] here
    lambda value: [part.clone() for part in value.split([value.shape[0] // 3, 2 * value.shape[0] // 3])],
    lambda q, kv: torch.cat([q, kv]))

KERNEL = Layout(  # a convolution (height, width, in, out) there
    lambda value: [value.permute(3, 2, 0, 1).contiguous()], lambda value: value.permute(2, 3, 1, 0).contiguous())
TO_HEADS = Layout(  # (D, K, p) there, (K p, D) here
    lambda value: [value.flatten(1).t().contiguous()],
    lambda value, heads: value.t().unflatten(1, (heads, -1)).contiguous(), by_head=True)
FROM_HEADS = Layout(  # (K, p, D) there, (D, K p) here
    lambda value: [value.flatten(0, 1).t().contiguous()],
    lambda value, heads: value.t().unflatten(0, (heads, -1)).contiguous(), by_head=True)


GROUPS = {r'\{i\}': r'(?P<index>\d+)', r'\{2i\}': r'(?P<twice>\d*[02468])', r'\*': r'(?P<last>\w+)'}


@functools.cache
def _pattern(template: str) -> 're.Pattern':
    """Regular expression of a key template, with the groups ``index`` and ``last``."""
    pattern = re.escape(template)
    for sign, group in GROUPS.items():
        pattern = pattern.replace(sign, group)
    return re.compile(f'{pattern}$')


def _fill(template: str, match: 're.Match') -> str:
    """The key that a template makes of the index and the last part found in another key."""
    found = match.groupdict()
    index = int(found['twice']) // 2 if 'twice' in found else int(found.get('index') or 0)
    return template.replace('{i}', str(index)).replace('{2i}', str(2 * index)).replace(
        '*', found.get('last', ''))


class Rule(NamedTuple):
    """One row of a table.

    Args:
        official (str): Template of the official key.
        ours (str | tuple[str, ...], optional): Template of our key, or of the keys that share the value.
            None: the model has no place for it, it is left out.
        layout (Layout): How the values correspond. Defaults to the same value on both sides.
        beside (str, optional): On the way back, the row applies only if this key (a template with the
            same index) is there too. Rows that need it stand before those that do not.
        with_official (str, optional): On the way here, the row applies only if this official key is there too.
    """

    official: str
    ours: str | tuple[str, ...] | None
    layout: Layout = SAME
    beside: str | None = None
    with_official: str | None = None

    @property
    def templates(self) -> tuple[str, ...]:
        """Of our keys."""
        return (self.ours, ) if isinstance(self.ours, str) else self.ours or ()

    def our_keys(self, official_key: str, present: Collection[str] | None = None) -> tuple[str, ...] | None:
        """Our keys for an official one in a state dict with the keys ``present``; None if the row is about another."""
        if present is not None and self.with_official is not None and self.with_official not in present:
            return None
        match = _pattern(self.official).match(official_key)
        return match and tuple(_fill(template, match) for template in self.templates)

    def official_key(self, our_key: str, present: Collection[str]) -> str | None:
        """Official key for one of ours in a state dict with the keys ``present``; None as above."""
        for template in self.templates:
            match = _pattern(template).match(our_key)
            if match and (self.beside is None or _fill(self.beside, match) in present):
                return _fill(self.official, match)
        return None


def _both(official: str, ours: str, *names: str) -> tuple[Rule, ...]:
    """Rows whose keys differ in the prefix only."""
    return tuple(Rule(f'{official}{name}', f'{ours}{name}') for name in names)


LAYER, OUR_LAYER = 'transformer.layers.{i}.', 'backbone.layers.{i}.'
CRATE_SKELETON = (
    Rule('cls_token', 'backbone.cls_token'),
    Rule('pos_embedding', 'backbone.pos_embed.table'),
    Rule(f'{LAYER}0.norm.*', f'{OUR_LAYER}norm1.*'),
    Rule(f'{LAYER}1.norm.*', f'{OUR_LAYER}norm2.*'),
    Rule('mlp_head.0.*', 'backbone.norm.*'),
    Rule('mlp_head.1.*', 'head.fc.*'),
)
ISTA = Rule(f'{LAYER}1.fn.weight', f'{OUR_LAYER}ffn.weight')

CBT = (
    *CRATE_SKELETON, ISTA,
    Rule('to_patch_embedding.proj.{2i}.0.*', 'backbone.stem.stages.{i}.0.*'),
    Rule('to_patch_embedding.proj.{2i}.1.*', 'backbone.stem.stages.{i}.1.*'),
    # CBSA; then MSSA and TSSA
    Rule(f'{LAYER}0.fn.proj.weight', f'{OUR_LAYER}attn.proj.weight', beside=f'{OUR_LAYER}attn.step_x'),
    Rule(f'{LAYER}0.fn.qkv.weight', f'{OUR_LAYER}attn.proj.weight'),
    *_both(f'{LAYER}0.fn.', f'{OUR_LAYER}attn.', 'step_x', 'step_rep', 'temp', 'to_out.*'),
)

DEMO_HEAD = 'head.weight'  # of crate-demo.pth alone: its mlp_head ends in features, and a second Linear follows
CRATE = (
    Rule('mlp_head.1.*', 'head.layers.0.fc.*', with_official=DEMO_HEAD),
    Rule('head.*', 'head.layers.1.fc.*', with_official=DEMO_HEAD),
    *CRATE_SKELETON, ISTA,
    Rule('to_patch_embedding.1.*', 'backbone.stem.norm1.*'),
    Rule('to_patch_embedding.2.*', 'backbone.stem.proj.*'),
    Rule('to_patch_embedding.3.*', 'backbone.stem.norm2.*'),
    Rule(f'{LAYER}0.fn.qkv.weight', f'{OUR_LAYER}attn.proj.weight'),
    Rule(f'{LAYER}0.fn.to_out.0.*', f'{OUR_LAYER}attn.to_out.*'),
)

CRATE_ALPHA = (
    *CRATE_SKELETON,
    Rule('conv1.*', 'backbone.stem.proj.*'),
    Rule(f'{LAYER}0.fn.qkv.weight', f'{OUR_LAYER}attn.proj.weight'),
    Rule(f'{LAYER}0.fn.to_out.0.weight', f'{OUR_LAYER}attn.to_out.weight'),
    Rule(f'{LAYER}1.fn.D', f'{OUR_LAYER}ffn.dictionary'),
    Rule(f'{LAYER}1.fn.D1', f'{OUR_LAYER}ffn.dictionary_out'),
)

BLOCK_JAX = 'params/Transformer/encoderblock_{i}/'


def _jax_norm(official: str, ours: str) -> tuple[Rule, ...]:
    return Rule(f'{official}/scale', f'{ours}.weight'), Rule(f'{official}/bias', f'{ours}.bias')


CRATE_ALPHA_JAX = (  # derived from the published JAX code
    Rule('params/cls', 'backbone.cls_token'),
    Rule('params/pos_embedding', 'backbone.pos_embed.table'),
    Rule('params/embedding/kernel', 'backbone.stem.proj.weight', KERNEL),
    Rule('params/embedding/bias', 'backbone.stem.proj.bias'),
    *_jax_norm(f'{BLOCK_JAX}LayerNorm_0', f'{OUR_LAYER}norm1'),
    *_jax_norm(f'{BLOCK_JAX}LayerNorm_1', f'{OUR_LAYER}norm2'),
    Rule(f'{BLOCK_JAX}MultiHeadDotProductSubspaceAttention_0/proj/kernel', f'{OUR_LAYER}attn.proj.weight', TO_HEADS),
    Rule(f'{BLOCK_JAX}MultiHeadDotProductSubspaceAttention_0/out/kernel', f'{OUR_LAYER}attn.to_out.weight', FROM_HEADS),
    Rule(f'{BLOCK_JAX}OvercompleteISTABlock_0/D', f'{OUR_LAYER}ffn.dictionary'),
    Rule(f'{BLOCK_JAX}OvercompleteISTABlock_0/D1', f'{OUR_LAYER}ffn.dictionary_out'),
    *_jax_norm('params/encoder_norm', 'backbone.norm'),
    Rule('params/head/kernel', 'head.fc.weight', TRANSPOSED),
    Rule('params/head/bias', 'head.fc.bias'),
)


CRATE_MAE = (  # pos_embed and decoder_embed are there and unused; the positions are fixed
    Rule('cls_token', 'backbone.cls_token'),
    Rule('mask_token', 'mask_token'),
    Rule('patch_embed.proj.*', 'backbone.stem.proj.*'),
    Rule('blocks.{i}.layers.0.0.norm.*', f'{OUR_LAYER}norm1.*'),
    Rule('blocks.{i}.layers.0.0.fn.qkv.weight', f'{OUR_LAYER}attn.proj.weight'),
    Rule('blocks.{i}.layers.0.0.fn.to_out.0.*', f'{OUR_LAYER}attn.to_out.*'),
    Rule('blocks.{i}.layers.0.1.norm.*', f'{OUR_LAYER}norm2.*'),
    Rule('blocks.{i}.layers.0.1.fn.weight', f'{OUR_LAYER}ffn.weight'),
    Rule('norm.*', 'backbone.norm.*'),
    Rule('decoder_blocks.{i}.layers.0.0.norm.*', 'neck.layers.{i}.norm1.*'),
    Rule('decoder_blocks.{i}.layers.0.0.fn.weight', 'neck.layers.{i}.ffn.weight'),
    Rule('decoder_blocks.{i}.layers.0.1.norm.*', 'neck.layers.{i}.norm2.*'),
    Rule('decoder_blocks.{i}.layers.0.1.fn.qkv.weight', 'neck.layers.{i}.attn.proj.weight'),
    Rule('decoder_blocks.{i}.layers.0.1.fn.to_out.0.*', 'neck.layers.{i}.attn.to_out.*'),
    Rule('decoder_norm.*', 'neck.norm.*'),
    Rule('decoder_pred.*', 'neck.to_pixels.*'),
    Rule('pos_embed', None),
    Rule('decoder_pos_embed', None),
    Rule('decoder_embed.*', None),
)


def _tost_block(official: str, ours: str) -> tuple[Rule, ...]:
    return (
        Rule(f'{official}gamma1', f'{ours}scale1.gamma'),
        Rule(f'{official}gamma2', f'{ours}scale2.gamma'),
        *_both(official, ours, 'norm1.*', 'norm2.*'),
        Rule(f'{official}mlp.fc1.*', f'{ours}ffn.fc1.*'),
        Rule(f'{official}mlp.fc2.*', f'{ours}ffn.fc2.*'),
    )


CLASS_BLOCK, OUR_CLASS_LAYER = 'cls_attn_blocks.{i}.', 'backbone.class_layers.{i}.'
TOST = (
    Rule('cls_token', 'backbone.cls_token'),
    Rule('patch_embed.proj.{2i}.0.*', 'backbone.stem.stages.{i}.0.*'),
    Rule('patch_embed.proj.{2i}.1.*', 'backbone.stem.stages.{i}.1.*'),
    Rule('pos_embeder.token_projection.weight', 'backbone.pos_embed.proj.weight', POINTWISE_CONV),
    Rule('pos_embeder.token_projection.bias', 'backbone.pos_embed.proj.bias'),
    *_tost_block('blocks.{i}.', OUR_LAYER),
    Rule('blocks.{i}.attn.temp', f'{OUR_LAYER}attn.temp'),
    Rule('blocks.{i}.attn.qkv.*', f'{OUR_LAYER}attn.proj.*'),
    Rule('blocks.{i}.attn.to_out.0.*', f'{OUR_LAYER}attn.to_out.*'),
    *_tost_block(CLASS_BLOCK, OUR_CLASS_LAYER),
    Rule(f'{CLASS_BLOCK}attn.qkv.*', (f'{OUR_CLASS_LAYER}attn.q.*', f'{OUR_CLASS_LAYER}attn.kv.*'),
         QUERY_AND_KEY_VALUE),
    Rule(f'{CLASS_BLOCK}attn.proj.*', f'{OUR_CLASS_LAYER}attn.to_out.*'),
    Rule('norm.*', 'backbone.norm.*'),
    Rule('head.*', 'head.fc.*'),
)

VIT_ENCODER = (
    *_both('encoder.', 'backbone.vit.', 'cls_token', 'dist_token', 'pos_embed', 'patch_embed.proj.*',
           'blocks.{i}.norm1.*', 'blocks.{i}.norm2.*', 'blocks.{i}.attn.qkv.*', 'blocks.{i}.attn.proj.*',
           'blocks.{i}.mlp.fc1.*', 'blocks.{i}.mlp.fc2.*', 'norm.*'),
    Rule('encoder.head.*', None),
    Rule('encoder.head_dist.*', None),
)

VIT = (  # in the layout of timm
    *_both('', 'backbone.vit.', 'cls_token', 'dist_token', 'reg_token', 'pos_embed', 'patch_embed.proj.*',
           *(f'blocks.{{i}}.{name}' for name in (
               'norm1.*', 'norm2.*', 'attn.qkv.*', 'attn.q_bias', 'attn.v_bias', 'attn.proj.*', 'mlp.fc1.*',
               'mlp.fc1_g.*', 'mlp.fc1_x.*', 'mlp.fc2.*', 'ls1.gamma', 'ls2.gamma', 'gamma_1', 'gamma_2')),
           'norm.*'),
    Rule('head.*', 'head.fc.*'),
    Rule('head_dist.*', None),
)

HEAD_LAYER = 'decode_head.layers.{i}.'
MASKS = (
    Rule('decoder.cls_emb', 'decode_head.cls_tokens'),
    Rule('decoder.mask_norm.*', 'decode_head.mask_norm.*'),
)
CBT_DECODER = (
    *VIT_ENCODER, *MASKS,
    Rule('decoder.decoder_norm.*', 'decode_head.decoder_norm.*'),
    Rule('decoder.net.layers.{i}.norm.*', f'{HEAD_LAYER}norm.*'),
    *_both('decoder.net.layers.{i}.fn.', f'{HEAD_LAYER}attn.',
           'step_x', 'step_rep', 'proj.weight', 'to_out.*'),
)


def _depict_net(official: str, ours: str, beside: str | None = None) -> tuple[Rule, ...]:
    return (
        Rule(f'{official}norm.*', f'{ours}norm.*', beside=beside),
        Rule(f'{official}fn.proj', f'{ours}attn.proj.weight', beside=beside),
        Rule(f'{official}fn.step_size', f'{ours}attn.step_size', beside=beside),
    )


CLASS_NORM = 'decode_head.class_norm.weight'  # in DEPICT-CA only
DEPICT = (
    *VIT_ENCODER, *MASKS,
    Rule('decoder.snorm.*', 'decode_head.decoder_norm.*', beside=CLASS_NORM),
    Rule('decoder.cnorm.*', 'decode_head.class_norm.*'),
    *_depict_net('decoder.snet.layers.{i}.', HEAD_LAYER, beside=CLASS_NORM),
    *_depict_net('decoder.cnet.layers.{i}.', 'decode_head.class_layers.{i}.'),
    Rule('decoder.decoder_norm.*', 'decode_head.decoder_norm.*'),
    *_depict_net('decoder.net.layers.{i}.', HEAD_LAYER),
)

BLOCK = 'decoder.blocks.{i}.'
SEGMENTER = (
    *VIT_ENCODER,
    *_both('decoder.', 'decode_head.', 'cls_emb', 'decoder_norm.*', 'mask_norm.*'),
    Rule('decoder.proj_dec.*', 'decode_head.dec_proj.*'),
    Rule('decoder.proj_patch', 'decode_head.patch_proj.weight', TRANSPOSED),
    Rule('decoder.proj_classes', 'decode_head.classes_proj.weight', TRANSPOSED),
    Rule(f'{BLOCK}norm1.*', f'{HEAD_LAYER}ln1.*'),
    Rule(f'{BLOCK}norm2.*', f'{HEAD_LAYER}ln2.*'),
    Rule(f'{BLOCK}attn.qkv.*', f'{HEAD_LAYER}attn.attn.in_proj_*'),
    Rule(f'{BLOCK}attn.proj.*', f'{HEAD_LAYER}attn.attn.out_proj.*'),
    Rule(f'{BLOCK}mlp.fc1.*', f'{HEAD_LAYER}ffn.layers.0.0.*'),
    Rule(f'{BLOCK}mlp.fc2.*', f'{HEAD_LAYER}ffn.layers.1.*'),
    Rule('decoder.head.weight', 'decode_head.conv_seg.weight', POINTWISE_LINEAR),
    Rule('decoder.head.bias', 'decode_head.conv_seg.bias'),
)

FAMILIES: dict[str, tuple[Rule, ...]] = {
    'cbt': CBT,
    'crate': CRATE,
    'crate-alpha': CRATE_ALPHA,
    'crate-alpha-jax': CRATE_ALPHA_JAX,
    'crate-mae': CRATE_MAE,
    'tost': TOST,
    'vit': VIT,
    'vit-cbsa': VIT,
    'cbt-decoder': CBT_DECODER,
    'depict': DEPICT,
    'segmenter': SEGMENTER,
}
VITS = ('vit', 'vit-cbsa')
CLASSIFIERS = ('cbt', 'crate', 'crate-alpha', 'crate-alpha-jax', 'tost', *VITS)
SELF_SUPERVISED = ('crate-mae', )

# What a state dict is, told by a key that no other kind has; the first that fits counts.
SIGNATURES = {
    'the family cbt': r'to_patch_embedding\.proj\.',
    'the family crate': r'to_patch_embedding\.1\.',
    'the family crate-alpha': r'transformer\.layers\.\d+\.1\.fn\.D1?$',
    'the family crate-alpha-jax': r'params/Transformer/encoderblock_\d+/OvercompleteISTABlock_0/',
    'an XCiT, whose attention (cross-covariance) is none of these families: timm builds it as xcit_*':
        r'blocks\.\d+\.(local_mp\.|attn\.temperature$)',
    'the family crate-mae': r'(decoder_)?blocks\.\d+\.layers\.0\.',
    'the family tost': r'pos_embeder\.|cls_attn_blocks\.',
    'the family cbt-decoder': r'decoder\.net\.layers\.\d+\.fn\.step_x$',
    'the family depict': r'decoder\.s?net\.layers\.\d+\.fn\.step_size$',
    'the family segmenter': r'decoder\.(proj_dec|head)\.weight$',
    'a timm ViT, the family vit, which TimmViT also loads with pretrained=PATH':
        r'(backbone\.)?blocks\.(\d+\.)?\d+\.attn\.qkv\.weight$',
    'an mmwhitebox model, which needs no conversion': r'(backbone|decode_head)\.',
}


def looks_like(keys: Collection[str]) -> str | None:
    """What a state dict with these keys is, in words; None if it cannot be told."""
    for name, pattern in SIGNATURES.items():
        if any(re.match(pattern, key) for key in keys):
            return name
    return None
