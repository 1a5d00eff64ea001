"""model-index.yml and the metafiles: they parse, name every published config, and say what is counted."""
import ast
import functools
import re

import modelindex
import pytest
import torch
import yaml
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmwhitebox.apis import config_path
from mmwhitebox.apis.export import default_size
from mmwhitebox.cli.measures.complexity import Network
from mmwhitebox.interpret import count_flops, count_parameters, count_similarities
from tests.configs import CONFIGS, ROOT, config

IMPORTS = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
FILES = {path: yaml.safe_load((ROOT / path).read_text()) for path in IMPORTS}
ENTRIES = [entry for file in FILES.values() for entry in file['Models']]


def test_every_metafile_is_imported():
    files = ROOT.glob('configs/*/metafile.yml')
    assert sorted(IMPORTS) == sorted(path.relative_to(ROOT).as_posix() for path in files)


def test_modelindex_reads_it():
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.build_models_with_collections()
    assert index.check(silent=True) == []
    assert [model.name for model in index.models] == [entry['Name'] for entry in ENTRIES]
    assert {model.in_collection for model in index.models} == {
        collection['Name'] for file in FILES.values() for collection in file['Collections']}


def test_published_configs_and_only_existing_ones_are_named():
    named = [entry['Config'] for entry in ENTRIES]
    published = {f'configs/{name}' for name in CONFIGS
                 if re.search(r'_(imagenet|ade20k)(_\d+)?\.py$', name) and '_mini_' not in name}
    assert len(named) == len(set(named)) and set(named) == published
    assert all(config_path(entry['Name']) == str(ROOT / entry['Config']) for entry in ENTRIES)


def test_a_collection_is_that_of_its_file():
    for file in FILES.values():
        names = {collection['Name'] for collection in file['Collections']}
        assert all(entry['In Collection'] in names for entry in file['Models'])


def test_numbers_say_whether_they_are_reported_or_measured():
    for entry in ENTRIES:
        meta, (result, ) = entry['Metadata'], entry['Results']
        data = 'ADE20K' if entry['Name'].endswith('_ade20k') else 'ImageNet-1k'
        expected = {'ADE20K': {'mIoU', 'mIoU(ms+flip)'}, 'ImageNet-1k': {'Top 1 Accuracy', 'Top 5 Accuracy'}}[data]
        metrics = dict(result['Metrics'])
        source = metrics.pop('Source')
        assert source in ('paper', 'measured') and set(metrics) <= expected
        assert metrics or source == 'measured'
        assert meta['Training Data'] == result['Dataset'] == data
        assert meta['Recipe'] == ('tuned' if '_tuned_' in entry['Name'] else 'published')


def test_cbt_decoders_cost_what_the_paper_says():
    said = {entry['Name']: entry['Metadata'] for entry in ENTRIES
            if 'decoder_flops' in entry['Metadata'].get('Published', {})}
    assert set(said) == {f'cbt_decoder{size}_ade20k' for size in ('', '_tiny', '_base', '_large')}
    for meta in said.values():
        assert meta['Decoder FLOPs'] / 1e9 == pytest.approx(meta['Published']['decoder_flops'], rel=0.05)


@functools.cache
def part(text):
    """A module on the meta device, from its config."""
    cfg = ConfigDict(ast.literal_eval(text))
    if cfg.type.endswith('SegmenterMaskTransformerHead'):  # reads values while it is built
        return MODELS.build(cfg).eval().to('meta')
    with torch.device('meta'):
        return MODELS.build(cfg).eval()


class OnePass(nn.Module):
    """Counts the similarities of a module while its FLOPs are counted."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image):
        self.similarities = count_similarities(self.module, image)


def cost(module, size):
    """Parameters, FLOPs, similarities and output of a module that takes an image."""
    one, image = OnePass(module), torch.empty(1, 3, *size, device='meta')
    with torch.no_grad(), module.register_forward_hook(lambda *seen: setattr(one, 'output', seen[-1])):
        flops = count_flops(one, image)
    return count_parameters(module), flops, one.similarities, one.output


@functools.cache
def encoder_cost(text, size):
    """That of an encoder; many decoders share one."""
    return cost(part(text), size)


@pytest.mark.parametrize('entry', ENTRIES, ids=lambda entry: entry['Name'])
def test_parameters_and_flops(entry):
    cfg = config(entry['Name'])
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.drop_path_rate = 0.  # timm reads values of the rates
    size = default_size(cfg)
    if cfg.model.type == 'mmwhitebox.CRATEMAE':  # the decoder is no head of features
        with torch.device('meta'):
            parameters, flops, similarities, _ = cost(Network(MODELS.build(cfg.model)), size)
        assert {key: entry['Metadata'][key] for key in ('Parameters', 'FLOPs', 'Similarities', 'Image Size')} == {
            'Parameters': parameters, 'FLOPs': flops, 'Similarities': similarities,
            'Image Size': f'{size[0]}x{size[1]}'}
        return
    if cfg.model.type == 'mmwhitebox.SimDINO':  # the encoder alone: it is what stays
        parameters, flops, similarities, _ = encoder_cost(repr(cfg.model.backbone.to_dict()), size)
        counted = {'Parameters': parameters, 'FLOPs': flops, 'Image Size': f'{size[0]}x{size[1]}',
                   **({'Similarities': similarities} if similarities else {})}
        assert {**entry['Metadata'], **counted} == entry['Metadata']
        return
    backbone, head = (repr(part.to_dict())
                      for part in (cfg.model.backbone, cfg.model.get('decode_head') or cfg.model.head))
    parameters, flops, similarities, features = encoder_cost(backbone, size)
    head_parameters, head_flops = count_parameters(part(head)), count_flops(part(head), features)
    counted = {'Parameters': parameters + head_parameters, 'FLOPs': flops + head_flops,
               'Image Size': f'{size[0]}x{size[1]}'}
    if 'decode_head' in cfg.model:
        counted.update({'Decoder Parameters': head_parameters, 'Decoder FLOPs': head_flops})
    elif similarities:
        counted['Similarities'] = similarities
    assert {key: entry['Metadata'][key] for key in counted} == counted
