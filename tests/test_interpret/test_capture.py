"""Capture: the layers in their order, what went in and out, and nothing left behind."""
import pytest
import torch

from mmwhitebox.apis import init_model
from mmwhitebox.cli.main import build_parser
from mmwhitebox.cli.measures.inputs import iter_inputs
from mmwhitebox.cli.measures.outputs import save_numbers
from mmwhitebox.cli.measures.selection import commands_for, select
from mmwhitebox.cli.options import parse
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.capture import capture, feedforward_layers
from mmwhitebox.models.access import logits
from mmwhitebox.models.attention import CBSA
from mmwhitebox.models.attention_layers import attention_layers, layer_numbers
from mmwhitebox.models.backbones import TimmViT, WhiteBoxTransformer
from tests.configs import reduced
from tests.test_interpret.small import numbers, save_ade, save_images


@pytest.fixture(scope='module')
def segmentor():
    cfg = reduced('cbt_decoder/cbt_decoder_mini_ade20k.py')
    cfg.model.decode_head.num_layers = 2
    return init_model(cfg, device='cpu')


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_layers_come_in_forward_order(segmentor):
    names = ['backbone.vit.blocks.0.attn', 'decode_head.layers.0.attn', 'decode_head.layers.1.attn']
    assert list(attention_layers(segmentor)) == names
    assert list(feedforward_layers(segmentor)) == ['backbone.vit.blocks.0.mlp']
    assert layer_numbers(segmentor, names[1:]) == [1, 2]
    ran = []
    for name, module in attention_layers(segmentor).items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    masks = logits(segmentor, torch.randn(1, 3, 64, 64))
    assert ran == names and masks.shape == (1, 150, 8, 8)
    for module in attention_layers(segmentor).values():
        module._forward_hooks.clear()


@pytest.mark.parametrize('name', ['vit_tiny_patch16_224', 'eva02_tiny_patch14_224', 'vit_small_patch16_dinov3'])
def test_attention_of_timm_models(name):
    vit = TimmViT(name, img_size=32, model_kwargs=dict(depth=2, embed_dim=48, num_heads=3, patch_size=16))
    assert len(attention_layers(vit)) == len(feedforward_layers(vit)) == 2


def test_calls_are_those_of_the_forward_pass(segmentor):
    layers = attention_layers(segmentor)
    with capture(layers) as calls:
        logits(segmentor, torch.randn(2, 3, 64, 72))
        assert hooks(segmentor) == 3
    assert hooks(segmentor) == 0
    attention, call = layers['decode_head.layers.0.attn'], calls['decode_head.layers.0.attn']
    assert isinstance(attention, CBSA) and call.args[1] == (8, 9) and call.args[0].shape == (2, 150 + 72, 192)
    with torch.inference_mode():
        torch.testing.assert_close(attention(*call.args), call.output)


def test_first_images_are_copies_without_a_graph():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    with capture(dict(layer=layer), max_images=2) as calls:
        layer(x)
    assert calls['layer'].output.shape == (2, 2) and not calls['layer'].output.requires_grad
    assert calls['layer'].args[0].untyped_storage().nbytes() == 2 * 3 * 4


def test_hooks_are_removed_after_an_error(segmentor):
    with pytest.raises(RuntimeError), capture(attention_layers(segmentor)):
        logits(segmentor, torch.randn(1, 4, 64, 64))
    assert hooks(segmentor) == 0


def test_layers_that_do_not_run_are_missing():
    model = WhiteBoxTransformer(
        dict(embed_dims=24, num_heads=2, num_layers=3, attention=dict(type='MSSA'), feedforward=dict(type='ISTA')),
        img_size=32, out_indices=1).eval()
    with capture(attention_layers(model)) as calls, torch.no_grad():
        model(torch.randn(1, 3, 32, 32))
    assert list(calls) == ['layers.0.attn', 'layers.1.attn']


def test_commands_of_models(segmentor):
    assert commands_for(segmentor) == [
        'complexity', 'coding_rate', 'rate_reduction', 'rank', 'attention_map', 'subspaces', 'perturbation']
    tost = init_model(reduced('tost/tost_mini_imagenet.py'), device='cpu')
    assert {'coding_rate', 'membership', 'subspaces'} <= set(commands_for(tost))
    assert 'rate_reduction' not in commands_for(tost)


@pytest.mark.parametrize('wanted, indices', [
    (None, [0, 1, 2, 3]), ('2', [2]), ('-1', [3]), ('0-2', [0, 1, 2]), ('3, 0-1,1', [0, 1, 3])])
def test_selection(wanted, indices):
    assert select(wanted, 4, '--layers', 'layers') == indices


@pytest.mark.parametrize('wanted, message', [
    ('4', 'there are 4 layers, 0 to 3'), ('-5', '0 to 3'), ('2-1', 'is empty'), ('a', 'give indices'),
    ('', 'give indices')])
def test_selection_out_of_range(wanted, message):
    with pytest.raises(UserError, match=f'--layers.*{message}'):
        select(wanted, 4, '--layers', 'layers')


def arguments(*images, **changes):
    args = parse(build_parser(), ['measure', 'coding_rate', 'config', 'checkpoint', *images])
    return type(args)(**{**vars(args), **changes})


def test_images_of_mixed_sizes(segmentor, tmp_path):
    folder = save_images(tmp_path, a=(40, 60), b=(90, 30), c=(30, 30))
    items = list(iter_inputs(segmentor, arguments(folder, f'{folder}/a.jpg')))
    assert [item.name for item in items] == ['a', 'b', 'c']  # a is named twice
    assert [item.image.shape for item in items[:2]] == [(40, 60, 3), (90, 30, 3)]
    for _, tensor, image, sample in items:
        height, width = sample.img_shape[:2]
        assert tensor.shape[0] == 1 and tensor.shape[2] >= height and tensor.shape[3] >= width
        assert height / width == pytest.approx(image.shape[0] / image.shape[1], rel=0.05) and 'gt_sem_seg' not in sample
        logits(segmentor, tensor)
    assert [i.name for i in iter_inputs(segmentor, arguments(folder, max_images=2))] == ['a', 'b']


def test_the_test_dataset_of_the_config(segmentor, tmp_path):
    segmentor.cfg.test_dataloader.dataset.data_root = save_ade(tmp_path, a=(40, 60), b=(50, 40), c=(30, 30))
    items = list(iter_inputs(segmentor, arguments(max_images=2)))
    assert [item.name for item in items] == ['a', 'b'] and 'gt_sem_seg' in items[0].sample
    segmentor.cfg.test_dataloader.dataset.data_root = str(tmp_path / 'none')
    with pytest.raises(UserError, match='does not exist'):
        next(iter_inputs(segmentor, arguments()))


def test_empty_folder(segmentor, tmp_path):
    with pytest.raises(UserError, match='no image there'):
        next(iter_inputs(segmentor, arguments(str(tmp_path))))


def test_numbers_are_valid_json_and_csv(tmp_path):
    save_numbers([dict(a=torch.tensor(1.5), b=float('nan')), dict(a=2, c=[1.0, float('inf')])], tmp_path / 'new', 'n')
    assert numbers(tmp_path / 'new', 'n') == [dict(a=1.5, b=None), dict(a=2, c=[1.0, None])]
    assert (tmp_path / 'new' / 'n.csv').read_text().splitlines()[:2] == ['a,b,c', '1.5,,']
