"""Names of classes against the folders that mmpretrain numbers by name, and a single name without a comma."""
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmwhitebox.datasets import check_datasets
from mmwhitebox.datasets.class_names import class_name_problems
from mmwhitebox.errors import DatasetLayoutError


def make(root, train='bcd', val='bcd', **options):
    """An image folder with an image in each class folder, and its config."""
    for split, names in (('train', train), ('val', val)):
        for name in names:
            (root / split / name).mkdir(parents=True)
            Image.new('RGB', (4, 4)).save(root / split / name / 'x.png')
    return Config(dict(default_scope='mmpretrain', **{
        f'{split}_dataloader': dict(dataset=dict(
            type='CustomDataset', data_root=str(root), data_prefix=split, **options))
        for split in ('train', 'val')}))


def names_given(cfg, split='val'):
    """The class that mmpretrain gives to each folder's image: {folder: label}."""
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    infos = map(dataset.get_data_info, range(len(dataset)))
    return {info['img_path'].split('/')[-2]: int(info['gt_label']) for info in infos}


@pytest.mark.parametrize('names, options', [
    (dict(), dict()), (dict(), dict(classes=['b', 'c', 'd'])), (dict(), dict(metainfo=dict(classes=('B', 'C', 'D')))),
    (dict(), dict(classes=['dog', 'cat', 'cow'])),  # other names than the folders'
    (dict(val='bc'), dict()),  # the last one: no label moves
    (dict(train='ab', val='cd'), dict()), (dict(train=['A', 'b'], val='ab'), dict()),
])
def test_what_is_right(tmp_path, names, options):
    assert class_name_problems(make(tmp_path, **names, **options)) == []


def test_a_text_is_no_list_of_names(tmp_path):
    data = dict(type='mmseg.BaseSegDataset', metainfo=dict(classes=('thing')))
    found = class_name_problems(Config(dict(train_dataloader=dict(dataset=dict(
        type='RepeatDataset', times=2, dataset=data)))))
    assert found == ["train_dataloader.dataset.dataset.metainfo.classes='thing' is one text, and no file of names; "
                     "each of its 5 letters would be a class. A single class needs a comma: ('thing', )."]
    (tmp_path / 'names.txt').write_text('thing\n')
    data['metainfo'] = dict(classes=str(tmp_path / 'names.txt'))
    assert class_name_problems(Config(dict(train_dataloader=dict(dataset=data)))) == []


def test_another_order_than_the_folders(tmp_path):
    cfg = make(tmp_path, classes=['d', 'b', 'c'])
    assert names_given(cfg) == dict(b=0, c=1, d=2)  # whatever classes says
    found = class_name_problems(cfg)
    assert len(found) == 2
    assert found[0].startswith('train_dataloader.dataset (CustomDataset): the labels follow the names')
    assert '(b, c, d), not the order of classes (d, b, c)' in found[0]


def test_capitals_come_first(tmp_path):
    cfg = make(tmp_path, train=['b', 'c'], val=['b', 'C'])
    assert names_given(cfg) == dict(C=0, b=1)
    found = class_name_problems(cfg)
    assert 'another label than in train_dataloader.dataset: their folders differ in order' in found[0]


@pytest.mark.parametrize('val', ['cd', 'bd', 'abcd', 'bce'])
def test_a_split_that_gives_a_class_another_label(tmp_path, val):
    cfg = make(tmp_path, val=val)
    train, found = names_given(cfg, 'train'), class_name_problems(cfg)
    moved = any(train.get(name, label) != label for name, label in names_given(cfg).items())
    assert len(found) == int(moved) == int(val != 'bce')  # another class in the place of d moves no label
    if val == 'cd':
        assert f'{tmp_path}/val lacks b. Add the folders that are missing' in found[0]
    if val == 'abcd':
        assert f'{tmp_path}/train lacks a' in found[0]


def test_hidden_folders_count_as_a_class(tmp_path):
    cfg = make(tmp_path, train=['b', 'c', '.ipynb_checkpoints'], val='bc', classes=['b', 'c'])
    with pytest.raises(DatasetLayoutError) as caught:
        check_datasets(cfg, ('train', 'val'))
    lines = str(caught.value).splitlines()
    assert lines == [f'train_dataloader.dataset (CustomDataset): .ipynb_checkpoints in {tmp_path}/train would count as '
                     f'a class: delete it (rm -r {tmp_path}/train/.ipynb_checkpoints).']


def test_all_that_is_wrong_comes_at_once(tmp_path):
    cfg = make(tmp_path, train='bc', val='bcd', classes=['b', 'c', 'd'])
    cfg.test_dataloader = dict(dataset=dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='test'))
    with pytest.raises(DatasetLayoutError) as caught:
        check_datasets(cfg)
    message = str(caught.value)
    assert f'{tmp_path}/train has no folder for the class d' in message
    assert f'{tmp_path}/test does not exist' in message and 'the dataset has 3 classes' not in message


def test_a_name_given_twice():
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dict(
        type='BaseSegDataset', metainfo=dict(classes=('ground', 'red', 'red'))))))
    (problem, ) = class_name_problems(cfg, ('train', ))
    assert 'red is the name of several classes' in problem
    cfg.train_dataloader.dataset.metainfo.classes = ('ground', 'red', 'blue')
    assert class_name_problems(cfg, ('train', )) == []
