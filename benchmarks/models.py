"""Cases of whole models: classification of images, and decoders on the features of an encoder."""
import copy
import inspect
from collections.abc import Callable, Sequence
from functools import partial

import timm
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS
from torch import Tensor, nn

from mmwhitebox.models.backbones import WhiteBoxTransformer
from mmwhitebox.models.decode_heads import WhiteBoxMaskHead
from mmwhitebox.registry import ATTENTIONS, FEEDFORWARDS

from .contest import Case, Contestant, Settings, Unable, require_onednn
from .transcription import transcribe

FORMS = ('ours', 'ours-compiled', 'ours-onednn', 'ours-onednn-compiled', 'ours-fused', 'ours-fused-compiled',
         'plain', 'plain-onednn', 'plain-compiled')
"""Forms of one model: eager, through torch.compile, with oneDNN's products, with fused kernels, two of these;
the papers' formulas."""
PEERS = ('vit', 'vit-onednn', 'vit-compiled')
DECODER_PEERS = ('segmenter', 'segmenter-onednn')
ENCODERS = ('cbt-tiny', 'cbt-small', 'crate-small', 'tost-small', 'dmst-small')
NUM_CLASSES = 1000
DECODERS = {
    'cbt': dict(attention=dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10), num_layers=3),
    'depict-sa': dict(
        attention=dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'), num_layers=3),
    'depict-ca': dict(
        attention=dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'), num_layers=3,
        class_attention=dict(type='MSCA', num_heads=3, head_dims=50), num_class_layers=3),
}
SEGMENTER = dict(
    type='SegmenterMaskTransformerHead', num_layers=2, num_heads=6, drop_path_rate=0., dropout_ratio=0.)
DECODER_WIDTH, DECODER_CLASSES, PATCH = 384, 150, 16


class Classifier(nn.Module):
    """Image to class scores: an encoder of ours and a Linear on its class token."""

    def __init__(self, backbone: WhiteBoxTransformer) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.embed_dims, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[-1])


class OnFeatures(nn.Module):
    """A decoder that takes one feature map instead of a list."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return self.head([features])


def with_impl(cfg: dict, registry, impl: str) -> dict:
    """A module's config with the form of its operator, if it has a choice."""
    kind = registry.get(cfg['type'])
    if kind is not None and 'impl' in inspect.signature(kind).parameters:
        return dict(cfg, impl=impl)
    return dict(cfg)


def set_impl(settings: dict, impl: str) -> dict:
    """Attention and feed-forward configs of an encoder or a decoder, each with the form asked for.

    Raises:
        Unable: Fused kernels are asked for and no operator of the model has them.
    """
    changed, all_configs = {}, []
    registries = dict(attention=ATTENTIONS, class_attention=ATTENTIONS, feedforward=FEEDFORWARDS)
    for key in registries.keys() & settings.keys():
        per_layer = isinstance(settings[key], (list, tuple))
        configs = settings[key] if per_layer else [settings[key]]
        configs = [with_impl(cfg, registries[key], impl) for cfg in configs]
        changed[key] = configs if per_layer else configs[0]
        all_configs.extend(configs)
    if impl == 'triton' and not any('impl' in cfg for cfg in all_configs):
        raise Unable('no operator of this model has fused kernels')
    return changed


def encoder(arch: str, size: int, impl: str) -> nn.Module:
    """An encoder of ours with a classification head."""
    forms = set_impl(WhiteBoxTransformer.arch_zoo[arch], impl)
    backbone = WhiteBoxTransformer(arch=arch, img_size=size, **forms)
    backbone.init_weights()
    return Classifier(backbone)


def decoder(name: str, impl: str) -> nn.Module:
    """A decoder of ours on feature maps of width :data:`DECODER_WIDTH`."""
    cfg = dict(DECODERS[name], **set_impl(DECODERS[name], impl))
    return OnFeatures(WhiteBoxMaskHead(DECODER_WIDTH, DECODER_WIDTH, num_classes=DECODER_CLASSES, **cfg))


def segmenter() -> nn.Module:
    """mmseg's mask transformer of Segmenter."""
    init_default_scope('mmseg')
    return OnFeatures(SEG_MODELS.build(dict(
        SEGMENTER, in_channels=DECODER_WIDTH, channels=DECODER_WIDTH, embed_dims=DECODER_WIDTH,
        num_classes=DECODER_CLASSES)))


def vit(arch: str, size: int) -> nn.Module:
    """timm's ViT of the same size as an encoder; its attention is scaled_dot_product_attention."""
    name = f'vit_{arch.rpartition("-")[2]}_patch16_224'
    return timm.create_model(name, img_size=size, num_classes=NUM_CLASSES)


def contestant_of(name: str, model: nn.Module, inputs: tuple[Tensor, ...], settings: Settings) -> Contestant:
    """A model as its name says it runs, e.g. 'ours-onednn-compiled'."""
    onednn = 'onednn' in name
    if onednn:
        require_onednn(settings)
    return Contestant(model, inputs, compiled=name.endswith('compiled'), fused='fused' in name, onednn=onednn)


def form_builder(make: Callable[[str], nn.Module], base: nn.Module, form: str, inputs: tuple[Tensor, ...],
                 settings: Settings) -> Callable[[], Contestant]:
    """A function that builds one form of a model, with the weights of the base.

    Args:
        make (Callable): Builds the model with a given ``impl``.
        base (nn.Module): The model with ``impl='torch'``, on the device.
        form (str): One of :data:`FORMS`.
        inputs (tuple[Tensor]): In float32 on the device.
        settings (Settings): For the device.
    """
    def build() -> Contestant:
        if 'fused' in form:
            if settings.device.type != 'cuda':
                raise Unable('the fused kernels need a GPU')
            model = make('triton')
            model.load_state_dict(base.state_dict())
            model.to(settings.device)
        else:
            model = transcribe(base) if form.startswith('plain') else copy.deepcopy(base)
        return contestant_of(form, model, inputs, settings)

    return build


def peer_builder(make: Callable[[], nn.Module], name: str, inputs: tuple[Tensor, ...],
                 settings: Settings) -> Callable[[], Contestant]:
    """A function that builds a model that is not ours."""
    return lambda: contestant_of(name, make().to(settings.device), inputs, settings)


def compare_forms(wanted: Sequence[str], peer: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Which forms must agree with the eager one, and with what each contestant is compared.

    All are compared with the transcription and the peer, those with oneDNN's products also with these two
    when they have them, too.
    """
    same = {form: 'ours' for form in wanted if form in FORMS and form != 'ours'}
    references: dict[str, dict[str, str]] = {}
    for name in wanted:
        others = ['plain', 'plain-onednn'] if name in FORMS else []
        others += [peer, f'{peer}-onednn']
        references[name] = {other: other for other in others
                            if other != name and ('onednn' in name or 'onednn' not in other)}
    return same, references


def cross_entropy(labels: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """The objective of a training step: mean cross-entropy with fixed labels."""
    return lambda scores: (F.cross_entropy(scores, labels[:scores.shape[0]]), None)


def classification_case(arch: str, size: int, mode: str, batch: int, wanted: Sequence[str],
                        settings: Settings) -> Case:
    """An encoder at one image size against its transcription, timm's ViT and, for DMST, ToST.

    Args:
        arch (str): Name in ``WhiteBoxTransformer.arch_zoo``.
        size (int): Image side in pixels.
        mode (str): 'inference' or 'training'.
        batch (int): Images in a step.
        wanted (Sequence[str]): Of :data:`FORMS` and :data:`PEERS`; 'ours' always takes part.
        settings (Settings): For the device.
    """
    torch.manual_seed(0)
    wanted = [name for name in (*FORMS, *PEERS) if name in wanted or name == 'ours']
    inputs = (torch.randn(batch, 3, size, size).to(settings.device), )
    labels = torch.randint(NUM_CLASSES, (batch, )).to(settings.device)
    make = partial(encoder, arch, size)
    base = make('torch').to(settings.device)
    builders = {form: form_builder(make, base, form, inputs, settings) for form in wanted if form in FORMS}
    builders.update({name: peer_builder(partial(vit, arch, size), name, inputs, settings)
                     for name in wanted if name in PEERS})
    same, references = compare_forms(wanted, 'vit')
    if arch.startswith('dmst'):
        tost = partial(encoder, arch.replace('dmst', 'tost'), size)
        tost_base = tost('torch').to(settings.device)
        for form in [form for form in builders if form.startswith('ours')]:
            name = form.replace('ours', 'tost')
            builders[name] = form_builder(tost, tost_base, form, inputs, settings)
            references[form]['tost'] = name
            references[name] = {title: other for title, other in references[form].items()
                                if title.startswith('vit')}
            if form != 'ours':
                same[name] = 'tost'
    return Case(
        labels=dict(model=arch, size=size, mode=mode),
        builders=builders,
        same_as=same,
        references=references,
        items=batch,
        objective=cross_entropy(labels) if mode == 'training' else None)


def decoder_case(name: str, size: int, mode: str, batch: int, wanted: Sequence[str],
                 settings: Settings) -> Case:
    """A decoder on the features of a ViT-S against its transcription and Segmenter's mask transformer.

    The loss is taken at the resolution of the features, so that the upsampling of the masks, the same for
    all, does not hide the decoders.

    Args:
        name (str): Name in :data:`DECODERS`.
        size (int): Image side in pixels; the features have a sixteenth of it.
        mode (str): 'inference' or 'training', which differentiates the features too.
        batch (int): Images in a step.
        wanted (Sequence[str]): Of :data:`FORMS` and :data:`DECODER_PEERS`; 'ours' always takes part.
        settings (Settings): For the device.
    """
    torch.manual_seed(0)
    side = size // PATCH
    wanted = [form for form in (*FORMS, *DECODER_PEERS) if form in wanted or form == 'ours']
    features = torch.randn(batch, DECODER_WIDTH, side, side).to(settings.device)
    inputs = (features.requires_grad_(mode == 'training'), )
    labels = torch.randint(DECODER_CLASSES, (batch, side, side)).to(settings.device)
    make = partial(decoder, name)
    base = make('torch').to(settings.device)
    builders = {form: form_builder(make, base, form, inputs, settings) for form in wanted if form in FORMS}
    builders.update({name: peer_builder(segmenter, name, inputs, settings)
                     for name in wanted if name in DECODER_PEERS})
    same, references = compare_forms(wanted, 'segmenter')
    return Case(
        labels=dict(decoder=name, size=size, mode=mode),
        builders=builders,
        same_as=same,
        references=references,
        items=batch,
        objective=cross_entropy(labels) if mode == 'training' else None)
