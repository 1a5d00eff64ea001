"""Misspelt keys and values of the wrong kind in a config: one error that names the key; nothing else escapes."""
import copy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS, TRANSFORMS, init_default_scope

from mmwhitebox.config.check import check_config
from mmwhitebox.config.errors import named_build_errors
from mmwhitebox.config.signatures import accepted_arguments
from mmwhitebox.config_parts import find_type, walk
from mmwhitebox.errors import ConfigError, UserError
from tests.configs import reduced

NAMES = ['cbt_decoder/cbt_decoder_mini_ade20k.py', 'cbt/cbt_mini_imagenet.py']
PARTS = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'optim_wrapper', 'param_scheduler',
         'train_cfg', 'default_hooks', 'env_cfg')
LETTERS = 'abcdefghijklmnopqrstuvwxyz_'
FREE = {'custom_keys', 'metainfo', 'model_kwargs'}  # dicts that take any key
OWN_NAMES = ('default_hooks', )  # dicts whose keys are names of their own
CONFIGS = {name: reduced(name) for name in NAMES}


def keys_of(cfg):
    """(path of a dict, key in it) for every key that a class or mmengine reads."""
    return [(path, key) for path, node in walk(cfg)
            if path.split('.')[0] in PARTS and path not in OWN_NAMES and not FREE & set(path.split('.'))
            for key in node if key != 'type']


KEYS = {name: keys_of(cfg) for name, cfg in CONFIGS.items()}


def node_at(cfg, path):
    for part in path.split('.'):
        cfg = cfg[int(part)] if part.isdigit() else cfg[part]
    return cfg


@st.composite
def misspellings(draw, word):
    """A word with one letter dropped, doubled, exchanged or two swapped."""
    place = draw(st.integers(0, len(word) - 1))
    letter = draw(st.sampled_from(LETTERS))
    following = word[place:place + 1] + word[place + 1:place + 2]
    return draw(st.sampled_from([
        word[:place] + word[place + 1:], word[:place] + word[place] + word[place:],
        word[:place] + letter + word[place + 1:], word[:place] + following[::-1] + word[place + 2:]]))


def is_known(cfg, path, key):
    """Whether a key is one that the dict at this place takes anyway."""
    node = node_at(cfg, path)
    target = find_type(node['type'], (MODELS, DATASETS, TRANSFORMS)) if 'type' in node else None
    return key in node or (target is not None and key in accepted_arguments(target).known)


@pytest.mark.parametrize('name', NAMES)
@given(draw=st.data())
def test_a_misspelt_key_is_named_with_the_right_one(name, draw):
    cfg = copy.deepcopy(CONFIGS[name])
    path, key = draw.draw(st.sampled_from([(p, k) for p, k in KEYS[name] if len(k) > 4]))
    wrong = draw.draw(misspellings(key))
    init_default_scope(cfg.default_scope)
    assume(wrong != key and wrong.isidentifier() and not is_known(cfg, path, wrong))
    node = node_at(cfg, path)
    node[wrong] = node.pop(key)
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    assert f'{path}.{wrong}: unknown key' in str(caught.value)
    assert f'{key!r}' in str(caught.value)


def build_all(cfg):
    """Build the parts of a config that need no data."""
    with named_build_errors(cfg):
        check_config(cfg)
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            for step in loader.dataset.pipeline:
                TRANSFORMS.build(step)
            DATASETS.build({**loader.dataset, 'lazy_init': True})
        optimizer = {**cfg.optim_wrapper.optimizer, 'params': model.parameters()}
        OPTIM_WRAPPERS.build(dict(type='OptimWrapper', optimizer=OPTIMIZERS.build(optimizer)))


WRONG = st.sampled_from(['many', '', '3', [], [1, 'a'], (), {}, {'a': 1}, {'type': 'Nothing'}, None, True, -1, 0, 0.5,
                         float('nan'), float('inf'), 10**9, object, b'bytes'])


@pytest.mark.parametrize('name', NAMES)
@given(draw=st.data(), value=WRONG)
def test_a_wrong_value_is_accepted_or_named(name, draw, value):
    cfg = copy.deepcopy(CONFIGS[name])
    path, key = draw.draw(st.sampled_from(KEYS[name]))
    assume(not (value == 10**9 and path.startswith('model')))  # a model of that size
    node_at(cfg, path)[key] = value
    try:
        build_all(cfg)
    except UserError as error:
        top = path.split('.')[0]
        assert top in str(error) or key in str(error)


NUMBERS = {
    'cbt_decoder/cbt_decoder_mini_ade20k.py': [
        'model.decode_head.num_layers', 'model.decode_head.num_classes', 'model.decode_head.attention.num_heads',
        'model.decode_head.attention.pool_size', 'model.decode_head.in_channels', 'model.backbone.img_size',
        'train_dataloader.batch_size', 'train_dataloader.num_workers', 'optim_wrapper.optimizer.lr',
        'param_scheduler.1.power', 'train_cfg.max_iters', 'train_dataloader.dataset.pipeline.1.num_classes'],
    'cbt/cbt_mini_imagenet.py': [
        'model.backbone.patch_size', 'model.backbone.arch.attention.pool_size', 'model.head.num_classes',
        'model.head.in_channels', 'val_dataloader.batch_size',
        'optim_wrapper.optimizer.weight_decay', 'train_cfg.max_epochs', 'param_scheduler.0.begin'],
}


@pytest.mark.parametrize('name', NAMES)
@given(draw=st.data(), value=st.one_of(st.text(alphabet=LETTERS, max_size=5), st.just({'a': 1})))
def test_no_number_where_one_is_needed(name, draw, value):
    cfg = copy.deepcopy(CONFIGS[name])
    path = draw.draw(st.sampled_from(NUMBERS[name]))
    parent, _, key = path.rpartition('.')
    node_at(cfg, parent)[key] = value
    with pytest.raises(ConfigError) as caught:
        check_config(cfg)
    assert f'{path}: ' in str(caught.value)


@given(name=st.sampled_from(NAMES), key=st.from_regex(r'[a-z][a-z_]{0,12}', fullmatch=True),
       value=st.sampled_from([1, 'a', [1], {'type': 'BN'}, None]))
def test_variables_of_a_config_pass_or_are_near_misses(name, key, value):
    cfg = copy.deepcopy(CONFIGS[name])
    assume(key not in cfg)
    cfg[key] = value
    try:
        check_config(cfg)
    except ConfigError as error:
        assert f'{key}: unknown key; did you mean' in str(error)


@given(content=st.dictionaries(
    st.sampled_from([*PARTS, 'visualizer', 'custom_hooks', 'randomness', 'load_from', 'abc']),
    st.recursive(st.none() | st.integers() | st.text(max_size=4) | st.sampled_from(['LN', 'EncoderDecoder', 'AdamW']),
                 lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
                     st.sampled_from(['type', 'dataset', 'optimizer', 'pipeline', 'x', '_scope_']), inner, max_size=3),
                 max_leaves=6), max_size=4))
def test_any_nest_of_values(content):
    try:
        check_config(Config(content))
    except ConfigError as error:
        assert 'cannot be used' in str(error)
