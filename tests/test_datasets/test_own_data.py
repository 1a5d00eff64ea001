"""own_data and recipe say classes and sizes once; every part of the config follows, in children too."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmwhitebox.apis import init_model
from mmwhitebox.config.check import check_config
from mmwhitebox.config.consistency import check_consistency
from mmwhitebox.config.own_data import fill_own_data
from mmwhitebox.config.reading import load_config
from mmwhitebox.datasets import check_datasets
from mmwhitebox.errors import ConfigError, DatasetLayoutError, UnknownModelError
from tests.own_folders import COLOURS, binary, class_folders, coloured, labels_of

SEG = "_base_ = 'mmwhitebox::_base_/datasets/own_seg.py'\n"
CLS = "_base_ = 'mmwhitebox::_base_/datasets/own_cls.py'\n"
ROAD = "own_data = dict(root={!r}, mapping={{0: 'background', 255: 'road'}})\nrecipe = dict(crop=32, scale=(48, 32))\n"


def load(path, text, **options):
    path.write_text(text)
    return load_config(str(path), options)


def found(value, key):
    """Everything that stands under a key, anywhere."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == key:
                yield item
            yield from found(item, key)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from found(item, key)


@pytest.fixture
def folder(tmp_path):
    return binary(tmp_path / 'roads')


@pytest.fixture
def config(tmp_path, folder):
    return load(tmp_path / 'mine.py', SEG + ROAD.format(str(folder)))


def sample(cfg, split, index=0):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return DATASETS.build(cfg[f'{split}_dataloader'].dataset)[index]


def test_the_number_of_classes_stands_in_one_place(config):
    numbers = list(found(config.to_dict(), 'num_classes'))
    assert set(numbers) == {2} and len(numbers) == 7  # head, three data sets, three variables
    assert config.train_dataloader.dataset.metainfo.classes == ['background', 'road']
    check_config(config)
    check_consistency(config)
    check_datasets(config)


def test_sizes_stand_in_one_place(config):
    assert config.model.data_preprocessor.size == (32, 32) and config.model.backbone.img_size == 32
    assert set(found(config.to_dict(), 'crop_size')) == {(32, 32)}
    assert set(found([config.train_dataloader.to_dict(), config.tta_pipeline], 'scale')) == {(48, 32)}
    assert config.model.test_cfg == dict(mode='whole')


@pytest.mark.parametrize('own, encode, expected', [
    ("mapping={0: 'background', 255: 'road'}", lambda x: x * np.uint8(255), [0, 1]),
    ("mapping={0: 'background', 255: 'road'}, classes=('road', 'background')", lambda x: x * np.uint8(255), [1, 0]),
    ("mapping={255: 'road', 0: 'background'}, ignored=[7]", lambda x: np.array([7, 255], np.uint8)[x], [255, 1]),
    ("classes=('background', 'road')", lambda x: x, [0, 1]),
    ("palette={'a': (0, 0, 0), 'b': (128, 64, 128)}", lambda x: COLOURS[x], [0, 1]),
])
def test_masks_become_labels(own, encode, expected, tmp_path):
    from tests.own_folders import make_masks

    root = make_masks(tmp_path / 'data', encode, 5)
    cfg = load(tmp_path / 'mine.py', f'{SEG}own_data = dict(root={str(root)!r}, {own})\n')
    cfg.val_dataloader.dataset.pipeline = [step for step in cfg.val_dataloader.dataset.pipeline
                                           if step.type != 'Resize']
    data = sample(cfg, 'val')['data_samples']
    index = int(data.img_path[-6:-4])
    assert np.array_equal(data.gt_sem_seg.data[0], np.array(expected)[labels_of(index, 2)])


def test_train_and_val_share_nothing(config):
    with DefaultScope.overwrite_default_scope('mmseg'):
        names = [{info['img_path'] for info in DATASETS.build(config[f'{split}_dataloader'].dataset).load_data_list()}
                 for split in ('train', 'val')]
    assert list(map(len, names)) == [8, 2] and not names[0] & names[1]
    assert max(sample(config, 'train')['inputs'].shape) <= 32


@pytest.mark.parametrize('line, path, value', [
    ("recipe = dict(model='segmenter_linear')", 'model.decode_head.type', 'FCNHead'),
    ("recipe = dict(crop=64)", 'model.backbone.img_size', 64),
    ("recipe = dict(scale=(128, 96))", 'model.test_cfg.mode', 'slide'),
    ("recipe = dict(scale=(128, 96))\nmodel = dict(test_cfg=dict(stride=(9, 9)))", 'model.test_cfg.stride', (9, 9)),
    ("train_cfg = dict(max_iters=7)", 'param_scheduler.1.end', 7),
    ("own_data = dict(mapping={128: 'kerb'})", 'model.decode_head.num_classes', 3),
    ("model = dict(decode_head=dict(num_layers=1))", 'model.decode_head.num_layers', 1),
    ("recipe = dict(class_weight=[1, 4])", 'model.decode_head.loss_decode.class_weight', [1, 4]),
])
def test_a_child_changes_one_line(line, path, value, config, tmp_path):
    cfg = load(tmp_path / 'child.py', f"_base_ = './mine.py'\n{line}\n")
    for key in path.split('.'):
        cfg = cfg[int(key) if key.isdigit() else key]
    assert cfg == value


def test_options_of_the_command_line(config, tmp_path, folder):
    cfg = load_config(str(tmp_path / 'mine.py'), {'own_data.mapping.128': 'kerb', 'recipe.crop': 64})
    assert cfg.model.decode_head.num_classes == 3 and cfg.model.backbone.img_size == 64


def test_inheritance_by_import(folder, tmp_path):
    cfg = load(tmp_path / 'lazy.py', 'from mmengine.config import read_base\n\nwith read_base():\n'
               '    from mmwhitebox.configs._base_.datasets.own_seg import *\n' + ROAD.format(str(folder))
               .replace('dict(crop', "dict(model='cbt_decoder_cbt_mini', crop"))
    assert cfg.model.decode_head.num_classes == 2
    check_datasets(cfg)


def test_filling_again_changes_nothing_and_the_dump_reads_back(config, tmp_path):
    before = config.to_dict()
    fill_own_data(config)
    assert config.to_dict() == before
    config.dump(tmp_path / 'dump.py')
    again = load_config(str(tmp_path / 'dump.py'), work_dir=config.work_dir)
    assert again.pretty_text == config.pretty_text
    assert Config.fromfile(tmp_path / 'dump.py').model.decode_head.num_classes == 2  # plain mmengine


def test_inference_needs_no_data(config, tmp_path, folder):
    import shutil

    with DefaultScope.overwrite_default_scope('mmseg'):
        assert MODELS.build(config.model).decode_head.num_classes == 2
    shutil.rmtree(folder)
    model = init_model(str(tmp_path / 'mine.py'), device='cpu')
    assert model.dataset_meta['classes'] == ['background', 'road']


def test_colours_of_the_masks_are_those_of_the_pictures(tmp_path):
    root = coloured(tmp_path / 'data')
    cfg = load(tmp_path / 'mine.py', f"{SEG}own_data = dict(root={str(root)!r}, "
               "palette={'road': (128, 64, 128), 'sky': [(70, 130, 180), (0, 0, 0)]})\n")
    assert init_model(cfg, device='cpu').dataset_meta['palette'] == [[128, 64, 128], [70, 130, 180]]


def test_names_in_a_file(folder, tmp_path):
    (folder / 'names.txt').write_text('background\nroad\n')
    cfg = load(tmp_path / 'mine.py', f"{SEG}own_data = dict(root={str(folder)!r}, classes='names.txt')\n")
    assert cfg.own_data.classes == ['background', 'road']


def test_classification(tmp_path):
    root = class_folders(tmp_path / 'pets')
    cfg = load(tmp_path / 'mine.py', f"{CLS}own_data = dict(root={str(root)!r}, classes=('cat', 'dog'))\n"
               'recipe = dict(crop=32)\ntrain_cfg = dict(max_epochs=5)\n')
    check_config(cfg)
    check_consistency(cfg)
    check_datasets(cfg)
    assert cfg.model.head.num_classes == 2 and cfg.model.backbone.img_size == 32
    assert cfg.param_scheduler[1].end == 5
    assert sample(cfg, 'train')['inputs'].shape == (3, 32, 32)
    merged = load(tmp_path / 'merged.py', f"{CLS}own_data = dict(root={str(root)!r}, "
                  "mapping={'cat': 'animal', 'dog': 'animal', 'car': 'thing'})\n")
    assert sample(merged, 'val')['data_samples'].gt_label.tolist() == [0]
    unknown = load(tmp_path / 'unknown.py', f"{CLS}own_data = dict(root={str(root)!r}, classes=('cat', ))\n")
    with pytest.raises(DatasetLayoutError, match='dog in 5 images .* is no class of cat: add it to own_data.classes'):
        check_datasets(unknown)


@pytest.mark.parametrize('text, error, message', [
    ("own_data = dict(mapping={0: 'a', 1: 'b'})", ConfigError, 'own_data.root, the folder of the data, is not set'),
    ("own_data = dict(root='x')", ConfigError, 'own_data does not name the classes'),
    ("own_data = dict(root='x', maping={0: 'a'})", ConfigError, "own_data.maping: unknown key; did you mean 'mapping'"),
    ("own_data = dict(root='x', classes=('a', 'a'))", ConfigError, 'classes names a twice'),
    ("own_data = dict(root='x', classes='a.txt')", ConfigError, 'there is no file x/a.txt'),
    ("own_data = dict(root='x', classes=('a', 'b'))\nrecipe = dict(crop='big')", ConfigError, "recipe.crop='big' must"),
    ("own_data = dict(root='x', classes=('a', 'b'))\nrecipe = dict(size=3)", ConfigError, 'recipe.size: unknown key'),
    ("own_data = dict(root='x', classes=('a', 'b'))\nrecipe = dict(class_weight=[1])", ConfigError,
     '1 weights for 2 classes'),
    ("own_data = dict(root='x', classes=('a', 'b'))\nrecipe = dict(model='cbt_mini')", ConfigError,
     'is a classifier, but train_dataloader.dataset is a FolderSegDataset'),
    ("own_data = dict(root='x', classes=('a', 'b'))\nrecipe = dict(model='nothing')", UnknownModelError,
     "Unknown model 'nothing'"),
])
def test_what_is_wrong_is_one_line(text, error, message, tmp_path):
    with pytest.raises(error, match=message):
        load(tmp_path / 'mine.py', f'{SEG}{text}\n')


def test_a_folder_that_is_not_there(tmp_path):
    cfg = load(tmp_path / 'mine.py', f"{SEG}own_data = dict(root='{tmp_path}/no', classes=('a', 'b'))\n")
    with pytest.raises(DatasetLayoutError, match='/no does not exist. Where the data lies is own_data.root'):
        check_datasets(cfg)


def test_a_folder_of_the_other_kind(tmp_path):
    root = class_folders(tmp_path / 'pets')
    cfg = load(tmp_path / 'mine.py', f"{SEG}own_data = dict(root={str(root)!r}, classes=('a', 'b'))\n")
    with pytest.raises(DatasetLayoutError, match='a folder of each class: that is for classification'):
        check_datasets(cfg)


def test_a_folder_that_changes_is_read_again(config, folder):
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build({**config.train_dataloader.dataset, 'lazy_init': True})
    assert dataset.check_files() == 8
    (folder / 'above').symlink_to(folder)
    for name in ('images/p00.jpg', 'masks/p00_mask.png'):
        (folder / name).with_stem((folder / name).stem.replace('p00', 'q00')).write_bytes((folder / name).read_bytes())
    assert dataset.check_files() + DATASETS.build({
        **config.val_dataloader.dataset, 'lazy_init': True, '_scope_': 'mmseg'}).check_files() == 11
    with pytest.raises(DatasetLayoutError, match='has no images with annotations for test: it has . for train, 2 for'):
        dataset.split = 'test'
        dataset.check_files()


def test_polygons_need_a_folder_for_their_masks(folder, tmp_path):
    for path in sorted((folder / 'masks').iterdir()):
        path.unlink()
        path.with_name(path.name.replace('_mask.png', '.txt')).write_text('0 0.1 0.2 0.6 0.2 0.6 0.8')
    (folder / 'masks').rename(folder / 'labels')
    text = f"{SEG}own_data = dict(root={str(folder)!r}, classes=('background', 'a'){{}})\n"
    with pytest.raises(ConfigError, match='polygons in a YOLO txt .* own_data.cache'):
        check_datasets(load(tmp_path / 'mine.py', text.format('')))
    cfg = load(tmp_path / 'mine.py', text.format(f", cache='{tmp_path}/drawn'"))
    check_datasets(cfg)
    assert set(np.unique(sample(cfg, 'val')['data_samples'].gt_sem_seg.data)) == {0, 1}
    assert len(list((tmp_path / 'drawn').iterdir())) == 10
