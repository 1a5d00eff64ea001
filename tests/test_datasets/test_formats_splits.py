"""The seeded split: the same everywhere, by groups, by class."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmwhitebox.datasets.formats import Pairs, Sample, find_pairs, split
from mmwhitebox.errors import DatasetLayoutError
from tests.test_datasets import own_folders as own


def pairs(tmp_path, names, kind='masks', labels=None):
    labels = labels or [()] * len(names)
    return Pairs(tmp_path, kind, [Sample(tmp_path / name, names=label) for name, label in zip(names, labels)])


def test_a_share_of_the_samples(tmp_path):
    whole = pairs(tmp_path, [f'{i:03}.jpg' for i in range(50)])
    first = split(whole)
    assert first.splits == {'train': 40, 'val': 10} and first.split_source == 'seeded'
    assert split(whole) == first and split(whole, seed=1) != first
    assert split(first, 0.5) == first  # it has a split
    assert split(whole, 0.5).splits == {'train': 25, 'val': 25}
    assert [s.image for s in first.samples] == [s.image for s in whole.samples]
    # more images change little: the hash of each stays
    more = {s.image for s in split(pairs(tmp_path, [f'{i:03}.jpg' for i in range(55)])).of('val')}
    assert len(more & {s.image for s in first.of('val')}) >= 8


def test_groups_stay_together(tmp_path):
    whole = pairs(tmp_path, [f'p{i // 5:02}_{i}.jpg' for i in range(50)])
    for prefix in ('_', 3):
        done = split(whole, group_prefix=prefix)
        groups = [{s.image.name[:3] for s in done.of(name)} for name in ('train', 'val')]
        assert not groups[0] & groups[1] and done.splits == {'train': 40, 'val': 10}
    with pytest.raises(DatasetLayoutError, match="50 samples of one group .group_prefix='-'. cannot be"):
        split(pairs(tmp_path, [f'a-{i}.jpg' for i in range(50)]), group_prefix='-')


def test_a_large_group_is_trained_on(tmp_path):
    names = [f'{group}_{i}.jpg' for group, count in (('a', 29), ('b', 11)) for i in range(count)]
    for seed in range(4):
        assert split(pairs(tmp_path, names), seed=seed, group_prefix='_').splits == {'train': 29, 'val': 11}


def test_classes_are_divided_each(tmp_path):
    whole = pairs(tmp_path, [f'{i}.jpg' for i in range(40)], 'classes', [('a', )] * 30 + [('b', )] * 10)
    done = split(whole)
    assert [sum(s.names == (name, ) for s in done.of('val')) for name in 'ab'] == [6, 2]
    rare = split(pairs(tmp_path, [f'{i}.jpg' for i in range(11)], 'classes', [('a', )] * 10 + [('b', )]))
    assert '1 classes without a sample in val (b)' in rare.problems[0]


def test_a_test_split_is_left_alone(tmp_path):
    folder = own.in_splits(tmp_path, '{split}/images/{i}.jpg', '{split}/masks/{i}.png', ('train', 'test'))
    assert split(find_pairs(folder)).splits == {'train': 5, 'val': 1, 'test': 6}


@pytest.mark.parametrize('options', [dict(val_share=0), dict(val_share=1.), dict(group_prefix=''), dict(group_prefix=0),
                                     dict(group_prefix=-1), dict(group_prefix=1.5)])
def test_options_out_of_range(tmp_path, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        split(pairs(tmp_path, ['a', 'b']), **options)


def test_too_few(tmp_path):
    with pytest.raises(DatasetLayoutError, match='1 samples cannot be divided'):
        split(pairs(tmp_path, ['a']))


@given(st.lists(st.sampled_from('abc'), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers())
def test_both_sides_have_samples(tmp_path_factory, labels, share, seed):
    root = tmp_path_factory.getbasetemp()
    done = split(pairs(root, [f'{i}.jpg' for i in range(len(labels))], 'classes', [(x, ) for x in labels]), share, seed)
    assert done.of('train') and done.of('val') and len(done.samples) == len(labels)
