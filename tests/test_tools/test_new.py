"""``mmwhitebox new``: what it finds, asks and writes; and the way from a folder to pictures as a user types it."""
import io
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mmwhitebox.cli.main import main
from mmwhitebox.config.reading import load_config
from mmwhitebox.config.starting import choose
from mmwhitebox.datasets import check_datasets
from tests.configs import ROOT
from tests.own_folders import COLOURS, binary, class_folders, coloured, labels_of, make_masks


def new(folder, out, *options):
    """Write a config; the config, and its text."""
    main(['new', str(folder), '--out', str(out), *map(str, options)])
    text = out.read_text()
    assert len(text.splitlines()) <= 15
    return load_config(str(out)), text


def refused(capsys, *argv):
    """The message that a command ends with."""
    with pytest.raises(SystemExit) as end:
        main(['new', *map(str, argv)])
    return str(end.value.code)


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'my_data.py'


def test_masks_of_0_and_255(tmp_path, out, capsys):
    before = {path: path.stat().st_mtime_ns for path in sorted(binary(tmp_path / 'data').rglob('*'))}
    cfg, text = new(tmp_path / 'data', out)
    assert "mapping={0: 'background', 255: 'foreground'}" in text and '# 0 in the masks is a class of its own.' in text
    assert 'val_share=0.2, seed=0' in text
    assert cfg.model.decode_head.num_classes == 2
    said = capsys.readouterr().out
    for line in ('10 images (one mask of each image)', 'train 8, val 2 (seeded)', '48 x 32 (10)',
                 'crop 32: the multiple of 32 in its shorter side (32), at most 256', f'mmwhitebox train {out}'):
        assert line in said
    assert {path: path.stat().st_mtime_ns for path in sorted((tmp_path / 'data').rglob('*'))} == before


@pytest.mark.slow
def test_masks_of_colours(tmp_path, out):
    cfg, text = new(coloured(tmp_path / 'data'), out, '--classes', 'ground', 'sky', 'road')
    assert cfg.own_data.palette == {'ground': (0, 0, 0), 'sky': (70, 130, 180), 'road': (128, 64, 128)}
    cfg, text = new(tmp_path / 'data', out, '--force', '--classes', 'ground', 'ground', 'road')
    assert '(0, 0, 0), (70, 130, 180) are ground together' in text and cfg.model.decode_head.num_classes == 2
    cfg, text = new(tmp_path / 'data', out, '--force', '--background', 'ignore')
    assert list(cfg.own_data.palette) == ['colour_4682b4', 'colour_804080'] and cfg.own_data.ignored == [(0, 0, 0)]
    assert 'black in the masks is ignored' in text


@pytest.mark.slow
def test_colours_that_a_file_names(tmp_path, out):
    root = coloured(tmp_path / 'data')
    (root / 'class_dict.csv').write_text('name,r,g,b\nvoid,0,0,0\nroad,128,64,128\nsky,70,130,180\n')
    for options in ((), ('--void', 'ignore'), ('--ignore', '0,0,0')):  # void by name
        cfg, _ = new(root, out, '--force', *options)
        assert list(cfg.own_data.palette) == ['road', 'sky'] and cfg.own_data.ignored == [(0, 0, 0)]
    cfg, _ = new(root, out, '--force', '--void', 'class')
    assert list(cfg.own_data.palette) == ['void', 'road', 'sky']


@pytest.mark.parametrize('options, names, ignored', [
    ((), {0: 'background', 1: 'class_1', 2: 'class_2'}, [255]),
    (('--void', 'class'), {0: 'background', 1: 'class_1', 2: 'class_2', 255: 'void'}, None),
    (('--background', 'ignore'), {1: 'class_1', 2: 'class_2'}, [0, 255]),
])
def test_0_and_255_can_be_meant_in_two_ways(options, names, ignored, tmp_path, out):
    root = make_masks(tmp_path / 'data', lambda labels: np.where(labels.cumsum(1) == 3, 255, labels).astype(np.uint8),
                      count=3)
    cfg, _ = new(root, out, *options)
    assert cfg.own_data.mapping == names and cfg.own_data.get('ignored') == ignored


def test_a_person_is_asked(tmp_path, out, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr('sys.stdin', Terminal('what\nignore\n'))
    asked = []
    monkeypatch.setattr('builtins.input', lambda text: (asked.append(text), sys.stdin.readline())[1])
    cfg, text = new(coloured(tmp_path / 'data'), out)
    assert len(asked) == 2 and asked[0].startswith('black (')
    assert 'a class of its own, or ignored? [class/ignore; Enter: class]' in asked[0]
    assert cfg.own_data.ignored == [(0, 0, 0)] and 'black in the masks is ignored' in text


def test_mistakes_planted_together_are_all_named(tmp_path, out, capsys):
    root = binary(tmp_path / 'data')
    masks, images = root / 'masks', root / 'images'
    (masks / 'p00_mask.png').unlink()
    Image.open(masks / 'p01_mask.png').resize((20, 20), 0).save(masks / 'p01_mask.png')
    stray = np.array(Image.open(masks / 'p02_mask.png'))
    stray[0, 0] = 7
    Image.fromarray(stray).save(masks / 'p02_mask.png')
    (images / 'p03.jpg').write_bytes(b'broken')
    (images / 'p04.jpg').rename(images / 'p04.JPG')
    cfg, text = new(root, out)
    said = capsys.readouterr().out
    for line in ('1 images without a mask (images/p00.jpg)', 'such as 20 x 20 pixels for 48 x 32 (images/p01.jpg)',
                 'in 1 of 9 masks: p02_mask.png) is ignored', '1 files that cannot be read (images/p03.jpg)',
                 '.JPG (images/p04.JPG)'):
        assert line in said
    assert cfg.own_data.mapping == {0: 'background', 255: 'foreground'} and cfg.own_data.ignored == [7]
    assert 'p02_mask.png) is ignored; images/p01.jpg, images/p03.jpg cannot be used and are left out' in text
    check_datasets(cfg)
    with pytest.raises(SystemExit, match='0'):
        main(['check-data', str(out), '--workers', '0'])
    assert new(root, out, '--force', '--stray', 'class')[0].own_data.mapping == {
        0: 'background', 7: 'class_7', 255: 'class_255'}


def test_what_is_written_is_checked(tmp_path, out, capsys):
    root = binary(tmp_path / 'data')
    new(root, out)
    assert 'checked, 10 samples read: 0 fault(s), 0 note(s):\n  nothing is wrong' in capsys.readouterr().out
    for folder, end in (('images', '.jpg'), ('masks', '_mask.png')):
        (root / folder / f'p05{end}').write_bytes((root / folder / f'p06{end}').read_bytes())
    new(root, out, '--force')
    said = capsys.readouterr().out
    assert '10 samples read: 1 fault(s)' in said and '(p0' not in said
    remedy = re.search(r"add to the config: (own_data.*)", said)[1]
    out.write_text(f'{out.read_text()}{remedy}\n')
    with pytest.raises(SystemExit, match='0'):
        main(['check-data', str(out), '--workers', '0'])
    assert '9 samples read: 0 fault(s)' in capsys.readouterr().out
    new(root, out, '--force', '--look', '9')
    assert 'checked' not in capsys.readouterr().out


def test_masks_from_one(tmp_path, out):
    cfg, _ = new(make_masks(tmp_path / 'data', lambda labels: labels + np.uint8(1)), out)
    assert cfg.own_data.mapping == {1: 'class_1', 2: 'class_2'} and cfg.model.decode_head.num_classes == 2


def test_masks_saved_as_jpeg(tmp_path, out, capsys):
    root = coloured(tmp_path / 'data')
    for path in sorted((root / 'masks').iterdir()):
        Image.open(path).resize((96, 64), Image.NEAREST).save(path.with_suffix('.jpg'), quality=90)
        path.unlink()
        Image.open(root / 'images' / f'{path.stem}.jpg').resize((96, 64)).save(root / 'images' / f'{path.stem}.jpg')
    cfg, text = new(root, out)
    assert cfg.own_data.nearest is True and cfg.model.decode_head.num_classes == 3
    said = capsys.readouterr().out
    assert 'each pixel counts as the nearest of' in text and 'JPEG masks are not exact' in said
    shares = [float(share) for share in re.findall(r'([\d.]+)% of the pixels', said)]
    drawn = np.bincount(np.concatenate([labels_of(index, 3).ravel() for index in range(10)])) / (10 * 48 * 32)
    np.testing.assert_allclose(sorted(shares), sorted(100 * drawn), atol=2)


def test_stated_colours_of_masks_saved_as_jpeg_need_not_be_guessed(tmp_path, out):
    root = coloured(tmp_path / 'data')
    for path in sorted((root / 'masks').iterdir()):
        Image.open(path).save(path.with_suffix('.jpg'), quality=90)
        path.unlink()
    names = {'sky': (70, 130, 180), 'pole': (250, 10, 10), 'road': (128, 64, 128), 'ground': (0, 0, 0)}
    (root / 'class_dict.csv').write_text('name,r,g,b\n' + ''.join(
        f'{name},{",".join(map(str, colour))}\n' for name, colour in names.items()))
    assert new(root, out)[0].own_data.palette == names


def test_polygons_are_drawn_beside_the_config(tmp_path, out):
    root = binary(tmp_path / 'data')
    for path in sorted((root / 'masks').iterdir()):
        path.unlink()
    (root / 'masks').rmdir()
    (root / 'labels').mkdir()
    for index in range(10):
        (root / 'labels' / f'p{index:02}.txt').write_text('0 0.1 0.2 0.6 0.2 0.6 0.8\n')
    (root / 'classes.txt').write_text('nucleus\n')
    cfg, text = new(root, out)
    assert cfg.own_data.mapping == {0: 'background', 1: 'nucleus'}
    assert len(list((tmp_path / 'my_data_masks').glob('*.png'))) == 10 and 'cache=' in text
    check_datasets(cfg)
    with pytest.raises(SystemExit, match='0'):
        main(['check-data', str(out), '--workers', '0'])


@pytest.mark.parametrize('drawn', ['polygons', 'one of each class'])
def test_what_is_not_drawn_need_not_count(drawn, tmp_path, out, capsys):
    root = binary(tmp_path / 'data')
    for path in sorted((root / 'masks').iterdir()):
        if drawn == 'polygons':
            polygons = '0 0.1 0.2 0.6 0.2 0.6 0.8\n1 0 0 1 0 1 .1'
            path.with_name(f'{path.stem.removesuffix("_mask")}.txt').write_text(polygons)
        else:
            mask = np.array(Image.open(path))
            for name, part in (('car', mask), ('sky', np.roll(mask, 20, 1))):
                (root / 'masks' / name).mkdir(exist_ok=True)
                Image.fromarray(part).save(root / 'masks' / name / f'{path.stem.removesuffix("_mask")}.png')
        path.unlink()
    if drawn == 'polygons':
        (root / 'classes.txt').write_text('car\nsky\n')
    cfg, text = new(root, out, '--background', 'ignore', '--void', 'class')
    assert cfg.own_data.mapping == {1: 'car', 2: 'sky'} and cfg.own_data.ignored == [0]
    assert '--void class changes nothing' in text and cfg.model.decode_head.num_classes == 2
    check_datasets(cfg)
    assert new(root, out, '--force')[0].own_data.mapping == {0: 'background', 1: 'car', 2: 'sky'}
    assert 'car would be called sky' in refused(
        capsys, root, '--out', out, '--force', '--classes', 'background', 'sky', 'car')
    assert new(root, out, '--force', '--classes', 'rest', 'auto', 'sky')[0].own_data.mapping == {
        0: 'rest', 1: 'auto', 2: 'sky'}


def test_class_folders(tmp_path, out, capsys):
    cfg, text = new(class_folders(tmp_path / 'pets'), out)
    assert "classes=['cat', 'dog']" in text and 'own_cls.py' in text
    assert cfg.model.head.num_classes == 2 and cfg.recipe.crop == 32
    assert 'cat: 6 images' in capsys.readouterr().out


def test_splits_of_the_folder_are_kept(tmp_path, out):
    root = coloured(tmp_path / 'data')
    for name in ('images', 'masks'):
        files = sorted((root / name).iterdir())
        for split, chosen in dict(train=files[:6], val=files[6:8], test=files[8:]).items():
            (root / name / split).mkdir()
            for path in chosen:
                path.rename(path.parent / split / path.name)
    cfg, text = new(root, out)
    assert 'val_share' not in text and cfg.test_dataloader.dataset.split == 'test'


def test_rules_give_way_to_options(tmp_path, out):
    cfg, _ = new(coloured(tmp_path / 'data'), out, '--crop', 64, '--scale', 96, 64, '--batch', 2, '--epochs', 5,
                 '--val-share', 0.5, '--seed', 3, '--model', 'segmenter_linear_ade20k')
    assert cfg.model.decode_head.type == 'FCNHead' and cfg.model.backbone.img_size == 64
    assert cfg.train_dataloader.batch_size == 2 and cfg.recipe.scale == (96, 64)
    assert cfg.train_cfg.max_iters == 13  # 5 epochs of 5 images, 2 at a time
    assert cfg.train_dataloader.dataset.seed == 3 and cfg.optim_wrapper.optimizer.lr == 1e-4


@pytest.mark.parametrize('sizes, count, expected', [
    ({(480, 360): 300}, 300, ((256, 256), (480, 360), 8, 600)),
    ({(2048, 1024): 50}, 50, ((256, 256), (512, 256), 8, 200)),
    ({(200, 200): 5}, 5, ((192, 192), (200, 200), 5, 200)),
    ({(20, 30): 400}, 400, ((32, 32), (20, 30), 8, 600)),
])
def test_rules(sizes, count, expected):
    start = choose('seg', 'cbt_decoder_cbt_mini', sizes, count, 10)
    assert (start.crop, start.scale, start.batch, start.length) == expected


@pytest.mark.parametrize('count, val_count, expected', [
    (3230, 400, (600, 100)), (432, 100, (600, 60)), (10, 2, (200, 20)), (1000, 9000, (600, 300))])
def test_validations_see_at_most_half_of_what_the_training_sees(count, val_count, expected):
    start = choose('seg', 'cbt_decoder_cbt_mini', {(64, 64): 9}, count, val_count)
    assert (start.length, start.interval) == expected


def test_uneven_classes_are_weighted():
    assert choose('seg', 'cbt_decoder_cbt_mini', {(64, 64): 9}, 9, 2, (.9, .09, .01)).class_weight == [0.32, 1.0, 3.0]
    assert choose('seg', 'cbt_decoder_cbt_mini', {(64, 64): 9}, 9, 2, (.9, .1)).class_weight is None
    assert choose('seg', 'cbt_decoder_cbt_mini', {(64, 64): 9}, 9, 2, (.9, .09, .01), weigh=False).class_weight is None


def test_bad_input_is_one_line(tmp_path, out, capsys):
    root = coloured(tmp_path / 'data')
    assert f'{tmp_path}/no' in refused(capsys, tmp_path / 'no', '--out', out)
    assert 'a file: name the folder that all lie in' in refused(capsys, root / 'images' / 'p00.jpg', '--out', out)
    assert 'a config is NAME.py' in refused(capsys, root, '--out', tmp_path / 'a.yaml')
    out.write_text('')
    assert 'is there already: --force writes over it' in refused(capsys, root, '--out', out)
    assert '--task cls: ' in refused(capsys, root, '--out', out, '--force', '--task', 'cls')
    assert '--classes has 1 names, the masks 3 colours that count' in refused(
        capsys, root, '--out', out, '--force', '--classes', 'a')
    assert 'no mask holds that' in refused(capsys, root, '--out', out, '--force', '--ignore', 'ffffff')
    assert "Unknown model 'nothing'" in refused(capsys, root, '--out', out, '--force', '--model', 'nothing')
    assert 'is for classification; this folder is for segmentation' in refused(
        capsys, root, '--out', out, '--force', '--model', 'cbt_mini')
    assert 'val_share=2.0 must lie between 0 and 1' in refused(capsys, root, '--out', out, '--force', '--val-share', 2)
    one = make_masks(tmp_path / 'one', lambda labels: labels * np.uint8(0))
    assert 'one class alone, so there is nothing to tell apart' in refused(capsys, one, '--out', out, '--force')
    cut = binary(tmp_path / 'cut')
    shutil.rmtree(cut / 'masks')
    (cut / 'annotations.json').write_text('{"images": [')
    assert '1 json files that cannot be read (annotations.json)' in refused(capsys, cut, '--out', out, '--force')
    photos = make_masks(tmp_path / 'photos', lambda labels: np.random.default_rng(0).integers(
        0, 256, (*labels.shape, 3), np.uint8))
    assert 'each of them rare: they may be photographs' in refused(capsys, photos, '--out', out, '--force')
    rgba = make_masks(tmp_path / 'grey', lambda labels: labels)
    for path in (rgba / 'images').iterdir():
        path.unlink()
        Image.fromarray(np.zeros((32, 48), np.float32)).save(path.with_suffix('.tif'))
    assert 'All values of the images are 0' in refused(capsys, rgba, '--out', out, '--force')


def test_a_full_disk_and_a_link(tmp_path, out, capsys):
    out.symlink_to('/dev/full')
    assert f'--out {out} cannot be written (No space left on device)' in refused(
        capsys, binary(tmp_path / 'data'), '--out', out, '--force')
    out.unlink()
    out.symlink_to(tmp_path / 'elsewhere.py')
    new(tmp_path / 'data', out)
    assert out.is_symlink() and (tmp_path / 'elsewhere.py').is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_folder_without_write_permission(tmp_path, capsys):
    (tmp_path / 'locked').mkdir(mode=0o500)
    assert 'cannot be written (Permission denied)' in refused(
        capsys, coloured(tmp_path / 'data'), '--out', tmp_path / 'locked' / 'a.py')


def command(*argv, cwd):
    """Run a command as a user types it."""
    done = subprocess.run([sys.executable, '-m', 'mmwhitebox', *map(str, argv)], cwd=cwd, text=True,
                          capture_output=True, timeout=600, stdin=subprocess.DEVNULL,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('make, labels', [(coloured, 3), (binary, 2)])
def test_from_a_folder_to_pictures(make, labels, tmp_path):
    make(tmp_path / 'data')
    command('new', 'data', '--epochs', 20, cwd=tmp_path)
    assert '0 fault(s)' in command('check-data', 'my_data.py', cwd=tmp_path)
    assert 'mIoU' in command('train', 'my_data.py', cwd=tmp_path)
    best = next((tmp_path / 'work_dirs/my_data').glob('best_mIoU*.pth'))
    command('infer', 'my_data.py', best, 'data/images', '--out', 'seen', cwd=tmp_path)
    found = Image.open(tmp_path / 'seen/labels/p00.png')
    assert found.size == (48, 32) and set(np.unique(found)) <= set(range(labels))
    if labels == 3:
        assert found.getpalette()[:9] == COLOURS[[0, 2, 1]].ravel().tolist()  # in the order of the colours


@pytest.mark.slow
def test_from_class_folders_to_labels(tmp_path):
    class_folders(tmp_path / 'data')
    command('new', 'data', '--epochs', 2, cwd=tmp_path)
    command('check-data', 'my_data.py', cwd=tmp_path)
    assert 'accuracy/top1' in command('train', 'my_data.py', cwd=tmp_path)
