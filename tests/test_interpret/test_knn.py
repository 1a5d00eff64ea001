"""k-NN and linear probe of a checkpoint, beside the untrained model: the command."""
import math

import pytest
import torch
from mmengine.registry import DATASETS

from mmwhitebox.apis import init_model
from mmwhitebox.cli.measures.knn import at_the_start
from mmwhitebox.engine.feature_validation import batch_features
from mmwhitebox.errors import NotApplicableError, UserError
from tests.configs import reduced
from tests.test_interpret.small import command, numbers, save_config, save_images, save_model

CLASSES = ['a', 'b']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Five images of two classes to know, four to score."""
    root = tmp_path_factory.mktemp('data')
    for split, count in (('train', 5), ('val', 4)):
        for i in range(count):  # noise of another width is other noise
            save_images(root / split / CLASSES[i % 2], **{f'{i}': (64, 60 + i if split == 'train' else 70 + i)})
    return str(root)


def saved(folder, name, data, **options):
    cfg = reduced(name)
    for split in ('train', 'val', 'test'):
        if cfg.get(f'{split}_dataloader'):
            loader = cfg[f'{split}_dataloader']
            loader.update(num_workers=0, persistent_workers=False, batch_size=2)
            loader.dataset.update(data_root=data, metainfo=dict(classes=CLASSES))
    cfg.merge_from_dict(options)
    return save_config(folder, name, cfg)


@pytest.mark.parametrize('name', [
    'crate_mae/crate_mae_mini_imagenet.py', pytest.param('cbt/cbt_mini_imagenet.py', marks=pytest.mark.slow)])
def test_the_command(name, data, tmp_path, capsys):
    options = {} if 'mae' in name else {'model.head.num_classes': 2}
    pair, out = saved(tmp_path, name, data, **options), tmp_path / 'out'
    assert command('knn')([*pair, '--k', '1', '--out', str(out), '--also', *pair]) == 0
    trained, start, *again = numbers(out, 'knn')
    assert (trained['weights'], trained['bank'], trained['images']) == ('trained', 5, 4)
    assert start['weights'] == 'at the start'
    text = capsys.readouterr().out
    share = trained['knn'] / 100
    assert f'{100 * share:.2f} +- {100 * math.sqrt(share * (1 - share) / 4):.2f}' in text
    expected = nearest(init_model(*pair, device='cpu'))
    assert trained['knn'] == pytest.approx(expected)
    assert [row['knn'] for row in again] == [trained['knn'], start['knn']]
    assert again[0]['model'] == again[1]['model'] != trained['model'] == start['model']


def nearest(model):
    """Percent of the images whose nearest neighbour, by the largest cosine, is of their class."""
    with DATASETS.switch_scope_and_registry('mmpretrain'):
        bank, asked = (DATASETS.build({**model.cfg[f'{split}_dataloader'].dataset,
                                       'pipeline': model.cfg.val_dataloader.dataset.pipeline}) for split in (
            'train', 'val'))
    features, labels = {}, {}
    for key, images in (('bank', bank), ('asked', asked)):
        samples = [images[i] for i in range(len(images))]
        features[key] = torch.cat([batch_features(model, dict(
            inputs=[sample['inputs']], data_samples=[sample['data_samples']]))[0] for sample in samples]).double()
        labels[key] = [int(sample['data_samples'].gt_label) for sample in samples]
    hits = 0
    for feature, label in zip(features['asked'], labels['asked']):
        cosines = torch.cosine_similarity(feature, features['bank'])
        hits += labels['bank'][int(cosines.argmax())] == label
    return 100 * hits / len(labels['asked'])


def test_the_untrained_model_is_that_of_the_seed(data, tmp_path):
    """Its weights are those that the training begins with: those of init_weights."""
    model = init_model(*saved(tmp_path, 'crate_mae/crate_mae_mini_imagenet.py', data), device='cpu')
    first, same, other = (at_the_start(model, 'cpu', seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first['mask_token'], other['mask_token'])
    assert not first['neck.to_pixels.bias'].any()  # Xavier's, not that of torch's layer


def test_mistakes_are_refused_in_a_line(data, tmp_path):
    pair, out = saved(tmp_path, 'crate_mae/crate_mae_mini_imagenet.py', data), ['--out', str(tmp_path / 'out')]
    for options, error, message in (
            ([], UserError, 'k=20 asks for more neighbours than the bank has images, 5'),
            (['--k', '1', '--temperature', '0'], UserError, 'temperature=0.0 must be a positive number'),
            (['--k', '1', '--cfg-options', 'val_dataloader=None'], NotApplicableError,
             'has no test or validation dataset'),
            (['--k', '1', '--cfg-options', 'train_dataloader.dataset.with_label=False'], UserError,
             'the bank: .*.jpg has no label'),
            (['--k', '1', '--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], UserError, 'nowhere')):
        with pytest.raises(error, match=message) as found:
            command('knn')([*pair, *out, *options])
        assert '\n' not in str(found.value) or 'nowhere' in message
    with pytest.raises(NotApplicableError, match='EncoderDecoder is not about images of one class each'):
        command('knn')([*save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py'), *out])
