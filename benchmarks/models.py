"""Cases of whole models: classification of images, and decoders on the features of an encoder."""
import copy
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
from mmwhitebox.ops.precision import bf16_is_emulated

from .cases import Case, Contestant, Settings, Unable

FORMS = ('ours', 'ours-optimized', 'ours-bf16', 'ours-compiled', 'ours-fused', 'ours-fused-compiled', 'plain',
         'plain-compiled')
"""Forms of one model: eager, made for inference, under bfloat16 autocast, through torch.compile, with fused kernels,
with both; the equations in plain torch."""
PEERS = ('vit', 'vit-compiled', 'segmenter')
ENCODERS = ('cbt-tiny', 'cbt-small', 'crate-small', 'tost-small', 'dmst-small')
NUM_CLASSES = 1000
DEPICT = dict(attention=dict(type='MSSA', num_heads=3, head_dims=100, out_proj='shared'), num_layers=3)
DECODERS = {
    'cbt': dict(attention=dict(type='CBSA', num_heads=3, head_dims=100, pool_size=10), num_layers=3),
    'depict-sa': DEPICT,
    'depict-ca': dict(DEPICT, class_attention=dict(type='MSCA', num_heads=3, head_dims=50), num_class_layers=3),
}
SEGMENTER = dict(
    type='SegmenterMaskTransformerHead', num_layers=2, num_heads=6, drop_path_rate=0., dropout_ratio=0.)
DECODER_WIDTH, DECODER_CLASSES, PATCH = 384, 150, 16


class Classifier(nn.Module):
    """Image to class scores: an encoder of ours and a Linear on its class token."""

    def __init__(self, arch: str, size: int) -> None:
        super().__init__()
        self.backbone = WhiteBoxTransformer(arch=arch, img_size=size)
        self.backbone.init_weights()
        self.head = nn.Linear(self.backbone.embed_dims, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[-1])


class OnFeatures(nn.Module):
    """A decoder that takes one feature map instead of a list."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        return self.head([features])


def decoder(name: str) -> nn.Module:
    """A decoder of ours on feature maps of width :data:`DECODER_WIDTH`."""
    return OnFeatures(WhiteBoxMaskHead(DECODER_WIDTH, DECODER_WIDTH, num_classes=DECODER_CLASSES, **DECODERS[name]))


def segmenter() -> nn.Module:
    """mmseg's mask transformer of Segmenter."""
    init_default_scope('mmseg')
    return OnFeatures(SEG_MODELS.build(dict(
        SEGMENTER, in_channels=DECODER_WIDTH, channels=DECODER_WIDTH, embed_dims=DECODER_WIDTH,
        num_classes=DECODER_CLASSES)))


def vit(arch: str, size: int) -> nn.Module:
    """timm's ViT of the same size as an encoder; its attention is scaled_dot_product_attention."""
    return timm.create_model(f'vit_{arch.rpartition("-")[2]}_patch16_224', img_size=size, num_classes=NUM_CLASSES)


def contestant_of(name: str, model: nn.Module | Callable[[], nn.Module], inputs: tuple[Tensor, ...],
                  settings: Settings) -> Contestant:
    """A copy of a model, or a new one, as its name says it runs: 'plain', 'ours-fused-compiled', 'cbsa-fused'.

    Raises:
        Unable: It is to run fused without a GPU, or without any operator that has kernels; or in bfloat16 where the
            processor cannot, or everything does.
    """
    words = name.split('-')
    if 'fused' in words and settings.device.type != 'cuda':
        raise Unable('the fused kernels need a GPU')
    model = copy.deepcopy(model) if isinstance(model, nn.Module) else model()
    if 'fused' in words and not any(getattr(module, 'has_kernels', False) for module in model.modules()):
        raise Unable('no operator of this model has fused kernels')
    if 'bf16' in words and bf16_is_emulated(settings.device):
        raise Unable('the processor has no bfloat16 instructions')
    if 'bf16' in words and settings.dtype == torch.bfloat16:
        raise Unable('everything is in bfloat16')
    if 'optimized' in words:
        from mmwhitebox.apis import optimize
        model = optimize(model, tuple(inputs[0].shape[-2:]))
    form = 'naive' if 'plain' in words else 'triton' if 'fused' in words else 'torch'
    return Contestant(model.to(settings.device), inputs, form, compiled='compiled' in words,
                      optimized='optimized' in words, bf16='bf16' in words)


def cross_entropy(labels: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor | None]]:
    """The objective of a training step: mean cross-entropy with fixed labels."""
    return lambda scores: (F.cross_entropy(scores, labels[:scores.shape[0]]), None)


def model_case(labels: dict, ours: nn.Module, peer: str, make_peer: Callable[[], nn.Module], inputs: tuple[Tensor, ...],
               targets: Tensor, wanted: Sequence[str], settings: Settings, tost: nn.Module | None = None) -> Case:
    """A model of ours in the forms that are wanted, against the equations and a peer.

    Args:
        labels (dict): Of the case; ``mode`` is 'inference' or 'training'.
        ours (nn.Module): On the CPU.
        peer (str): Name of the other model, of :data:`PEERS`.
        make_peer (Callable): Builds it.
        inputs (tuple[Tensor]): In float32 on the device.
        targets (Tensor): Labels for the loss.
        wanted (Sequence[str]): Of :data:`FORMS` and :data:`PEERS`; 'ours' always takes part.
        settings (Settings): For the device.
        tost (nn.Module, optional): A model of ours that runs beside this one in each of its forms, as a peer.
    """
    forms = [form for form in FORMS if form in wanted or form == 'ours']
    if labels['mode'] == 'training':
        forms = [form for form in forms if form != 'ours-optimized']
    peers = [name for name in PEERS if name in wanted and name.startswith(peer)]
    models = {**dict.fromkeys(forms, ours), **dict.fromkeys(peers, make_peer)}
    same = {form: 'ours' for form in forms if form != 'ours'}
    plain = ['plain', 'plain-compiled']
    references = {name: {other: other for other in (plain if name in forms else []) + [peer] if other != name}
                  for name in models}
    if tost is not None:
        for form in [form for form in forms if form.startswith('ours')]:
            name = form.replace('ours', 'tost')
            models[name], references[form]['tost'], references[name] = tost, name, {peer: peer}
            if form != 'ours':
                same[name] = 'tost'
    return Case(
        labels=labels,
        builders={name: partial(contestant_of, name, model, inputs, settings) for name, model in models.items()},
        same_as=same,
        references=references,
        items=len(inputs[0]),
        objective=cross_entropy(targets) if labels['mode'] == 'training' else None)


def classification_case(arch: str, size: int, mode: str, batch: int, wanted: Sequence[str], settings: Settings) -> Case:
    """An encoder, of ``WhiteBoxTransformer.arch_zoo``, at one image size beside timm's ViT and, for DMST, ToST."""
    torch.manual_seed(0)
    inputs = (torch.randn(batch, 3, size, size).to(settings.device), )
    targets = torch.randint(NUM_CLASSES, (batch, )).to(settings.device)
    tost = Classifier(arch.replace('dmst', 'tost'), size) if arch.startswith('dmst') else None
    return model_case(dict(model=arch, size=size, mode=mode), Classifier(arch, size), 'vit', partial(vit, arch, size),
                      inputs, targets, wanted, settings, tost)


def decoder_case(name: str, size: int, mode: str, batch: int, wanted: Sequence[str], settings: Settings) -> Case:
    """A decoder of :data:`DECODERS` on the features of a ViT-S beside Segmenter's mask transformer.

    The loss is taken at the resolution of the features, a sixteenth of the image, so that the upsampling of the masks,
    the same for all, does not hide the decoders. Training differentiates the features too.
    """
    torch.manual_seed(0)
    side = size // PATCH
    features = torch.randn(batch, DECODER_WIDTH, side, side).to(settings.device)
    targets = torch.randint(DECODER_CLASSES, (batch, side, side)).to(settings.device)
    return model_case(dict(decoder=name, size=size, mode=mode), decoder(name), 'segmenter', segmenter,
                      (features.requires_grad_(mode == 'training'), ), targets, wanted, settings)
