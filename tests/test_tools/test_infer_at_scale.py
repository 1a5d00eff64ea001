"""mmwhitebox infer on many images: it goes on where it stopped, processes share the images, tables are exact."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.cli.main import main
from mmwhitebox.cli.predictions.shards import Shard
from mmwhitebox.errors import UserError
from tests.configs import ROOT
from tests.test_interpret.small import save_images, save_model
from tests.test_tools.test_infer import save_video

SEGMENTOR, CLASSIFIER = 'segmenter/segmenter_linear_mini_ade20k.py', 'cbt/cbt_mini_imagenet.py'


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """A function that gives config and checkpoint of a small model."""
    made = {}

    def get(name=SEGMENTOR):
        if name not in made:
            made[name] = save_model(tmp_path_factory.mktemp('model'), name)
        return made[name]

    return get


@pytest.fixture
def infer(models, tmp_path, monkeypatch):
    """A function that runs the command in the test's folder; returns its status or message."""
    monkeypatch.chdir(tmp_path)

    def run(*args, name=SEGMENTOR):
        try:
            main(['infer', *models(name), *map(str, args), '--device', 'cpu'])
        except SystemExit as ended:
            return ended.code
        return None

    return run


def save_photos(folder, count, size=(20, 30)):
    """Images in two folders, of odd names."""
    for number in range(count):
        save_images(folder / f'd{number % 2}', **{f'im, "{number // 2:03d}" é': size})
    return folder


def outputs(out):
    """Relative path -> bytes of every file but those of the journal."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(Path(out).rglob('*'))
            if path.is_file() and 'parts' not in path.parts}


def noted(out):
    """Names in the journal, one for each time that an image was finished."""
    return [json.loads(line.partition('\t')[0])[0] for path in sorted((Path(out) / 'parts').glob('*.jsonl'))
            for line in path.read_text().splitlines()[1:]]


TABLES = ('--polygons', '{}/regions.json', '--shares', '{}/shares.csv')


def tables(out):
    return [word.format(out) for word in TABLES]


def test_a_killed_run_goes_on(fresh, infer, models, tmp_path, capsys):
    save_photos(tmp_path / 'photos', 24)
    assert infer('photos', '--out', 'whole', *tables('whole')) == 0
    words = ['infer', *models(), 'photos', '--out', 'out', '--device', 'cpu', *tables('out')]
    done = fresh.run(f"""
import os, pathlib, signal, time
from mmwhitebox.cli.main import main
from mmwhitebox.cli.predictions.files import Files
journal, write = pathlib.Path('out/parts/0-of-1.jsonl'), Files.write

def dies(*args):
    if journal.read_bytes().count(b'\\n') > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(.05)
    return write(*args)

Files.write = dies
main({words})""", tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    journal = tmp_path / 'out/parts/0-of-1.jsonl'
    before = noted('out')
    assert 5 <= len(before) < 24 and not (tmp_path / 'out/shares.csv').exists()
    for path in (tmp_path / 'out').rglob('*.png'):
        if 'parts' not in path.parts:
            Image.open(path).load()  # none is half written
    with open(journal, 'a') as file:
        file.write('["d0/im, half')
    capsys.readouterr()
    assert infer('photos', '--out', 'out', *tables('out')) == 0
    said = capsys.readouterr()
    assert f'{len(before)} of 24 images were finished before' in said.err
    assert said.out == '24 of 24 images segmented: out/labels, out/overlays, out/regions.json, out/shares.csv\n'
    assert outputs('out') == outputs('whole')
    assert sorted(noted('out')) == sorted(set(noted('out'))) and len(noted('out')) == 24
    assert not list((tmp_path / 'out/parts').glob('*.tmp'))


def test_what_is_gone_is_done_again_and_what_is_new_is_added(infer, tmp_path, capsys):
    save_photos(tmp_path / 'photos', 4)
    assert infer('photos', '--out', 'out', '--workers', 0) == 0
    before = outputs('out')
    (tmp_path / 'out/labels/d0/im, "000" é.png').unlink()
    (tmp_path / 'out/overlays/d1/im, "001" é.jpg').unlink()
    assert infer('photos', '--out', 'out', '--workers', 2) == 0 and outputs('out') == before
    assert len(noted('out')) == 6
    save_images(tmp_path / 'photos/d2', new=(20, 30))
    assert infer('photos', '--out', 'out', '--shares', 'shares.csv') == 0
    assert len(noted('out')) == 7 and len(list(csv.reader(open('shares.csv')))) == 1 + 5
    other = Path(save_images(tmp_path / 'other' / 'd2', new=(10, 10))).parent
    assert infer(other, '--out', 'out', '--shares', 'shares.csv') == 0  # another image of that name
    assert Image.open('out/labels/d2/new.png').size == (10, 10)
    assert [row['pixels'] for row in csv.DictReader(open('shares.csv'))] == ['100']


def test_another_run_in_the_same_folder_is_refused(infer, models, tmp_path):
    save_photos(tmp_path / 'photos', 2)
    assert infer('photos', '--out', 'out') == 0
    end = ': give another --out, go on as it was, or begin anew with --overwrite.'
    assert infer('photos', '--out', 'out', '--masks', 'colour') == (
        f'error: out holds predictions with --masks index{end}')
    assert infer('photos', '--out', 'out', name=CLASSIFIER) == (
        f'error: out holds predictions with another checkpoint, with another config{end}')
    assert infer('photos', '--out', 'out', '--shard', '0/2', '--no-legend').endswith(f'with a legend{end}')
    assert infer('photos', '--out', 'out', '--batch-size', 2) == 0  # makes no difference
    assert infer('photos', '--out', 'out', '--masks', 'colour', '--overwrite', '--no-overlays') == 0
    assert Image.open('out/labels/d0/im, "000" é.png').mode == 'RGB'
    assert infer('photos', '--out', 'out', '--overwrite', '--shard', '1/2') == 0
    assert not Path('out/parts/0-of-1.jsonl').exists()


def test_two_at_the_same_part_are_refused(infer, tmp_path):
    fcntl = pytest.importorskip('fcntl')
    save_photos(tmp_path / 'photos', 2)
    assert infer('photos', '--out', 'out') == 0
    with open('out/parts/0-of-1.jsonl', 'rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert infer('photos', '--out', 'out').startswith('error: Another process is writing out/parts/0-of-1.jsonl: ')


@pytest.mark.parametrize('launched', [True, False], ids=['RANK of WORLD_SIZE', '--shard'])
def test_processes_share_the_images(infer, tmp_path, monkeypatch, capsys, launched):
    save_photos(tmp_path / 'photos', 11)
    (tmp_path / 'photos/broken.jpg').write_bytes(b'\0')
    assert infer('photos', '--out', 'one', *tables('one')) == 1
    statuses = []
    for part in (2, 0, 1):
        capsys.readouterr()
        assert not Path('three/shares.csv').exists()
        if launched:
            monkeypatch.setenv('RANK', str(part))
            monkeypatch.setenv('WORLD_SIZE', '3')
        statuses.append(infer('photos', '--out', 'three', *tables('three'),
                              *([] if launched else ['--shard', f'{part}/3'])))
    assert outputs('three') == {path: text.replace(b'one/', b'three/') for path, text in outputs('one').items()}
    assert sorted(noted('three')) == sorted(noted('one')) and len(noted('one')) == 11
    said = capsys.readouterr()
    assert said.out.startswith('11 of 12 images segmented') and '1 skipped, listed in three/skipped.txt' in said.err
    assert statuses[-1] == 1
    if launched:
        assert statuses == [0, 0, 1]  # a failure would make the launcher end the others
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    assert infer('photos', '--out', 'three', *tables('three')) == 1 and len(noted('three')) == 11  # one finds all done


@pytest.mark.parametrize('count', [1, 2, 4, 7])
def test_numbered_images_are_shared_evenly(count):
    names = [f'd{number % 2}/frame_{number:06d}' for number in range(4000)]
    shares = [sum(Shard(index, count).owns(name) for name in names) for index in range(count)]
    assert sum(shares) == 4000 and max(shares) - min(shares) < 260


def test_one_part_is_resumed_alone(infer, tmp_path):
    save_photos(tmp_path / 'photos', 8)
    for part in (0, 1):
        assert infer('photos', '--out', 'out', '--shard', f'{part}/2', *tables('out')) == 0
    whole, journal = outputs('out'), Path('out/parts/0-of-2.jsonl')
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(''.join(lines[:2]) + lines[2][:20])
    shutil.rmtree('out/labels')
    other = Path('out/parts/1-of-2.jsonl').read_text()
    Path('out/shares.csv').unlink()
    assert infer('photos', '--out', 'out', '--shard', '0/2', *tables('out')) == 0
    assert Path('out/parts/1-of-2.jsonl').read_text() == other
    assert set(outputs('out')) < set(whole) and outputs('out')['shares.csv'] == whole['shares.csv']


@pytest.mark.parametrize('args, said', [
    (['--shard', '2/2'], '--shard 2/2: give I/N'), (['--shard', 'a'], '--shard a: give I/N'),
    (['--workers', '-1'], '--workers must be 0 or more'), (['--shares', 'photos'], '--shares photos: this is a folder'),
    (['--polygons', 'photos/a.jpg/x.json'], 'is not writable|this is a file')])
def test_wrong_options_are_refused_at_once(infer, tmp_path, args, said):
    save_images(tmp_path / 'photos', a=(20, 30))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(infer('photos', '--out', 'out', *args))
    assert not Path('out/labels').exists()


def test_tables_of_a_segmentor_are_refused_for_a_classifier(infer, tmp_path):
    save_images(tmp_path / 'photos', a=(20, 30))
    for words in (['--polygons', 'p.json'], ['--shares', 's.csv'], ['--masks', 'colour']):
        assert infer('photos', *words, name=CLASSIFIER).startswith(f'error: {words[0]} is for segmentors; ')


def test_a_launcher_with_an_odd_environment(infer, tmp_path, monkeypatch):
    save_images(tmp_path / 'photos', a=(20, 30))
    monkeypatch.setenv('WORLD_SIZE', 'many')
    assert 'WORLD_SIZE=many of the environment' in infer('photos')
    assert infer('photos', '--shard', '0/1', '--out', 'out') == 0


def test_tables_agree_with_the_label_maps(infer, models, tmp_path):
    save_photos(tmp_path / 'photos', 3)
    save_images(tmp_path / 'photos', top=(40, 24))
    assert infer('photos', '--out', 'out', *tables('out')) == 0
    coco, names = COCO('out/regions.json'), json.loads(Path('out/regions.json').read_text())
    rows = list(csv.DictReader(open('out/shares.csv', encoding='utf-8')))
    classes = [category['name'] for category in names['categories']]
    assert [image['file_name'] for image in names['images']] == [
        *(f'd{folder}/im, "{number:03d}" é.jpg' for folder, number in ((0, 0), (0, 1), (1, 0))), 'top.jpg']
    assert [row['image'] for row in rows] == [f'photos/{image["file_name"]}' for image in names['images']]
    model = init_model(*models(), device='cpu')
    for image, row in zip(names['images'], rows):
        path = tmp_path / 'photos' / image['file_name']
        labels = np.asarray(Image.open(tmp_path / 'out/labels' / f'{image["file_name"][:-4]}.png'))
        assert np.array_equal(labels, inference_model(model, path).mask)
        assert labels.shape == (image['height'], image['width'])
        drawn = np.full(labels.shape, -1)
        for annotation in coco.imgToAnns[image['id']]:
            area = coco.annToMask(annotation).astype(bool)
            assert area.sum() == annotation['area'] and (drawn[area] == -1).all()
            y, x = np.nonzero(area)
            assert annotation['bbox'] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            drawn[area] = annotation['category_id']
        assert np.array_equal(drawn, labels)
        shares = [float(row[name]) for name in classes]
        assert sum(shares) == pytest.approx(1, abs=1e-4) and int(row['pixels']) == labels.size
        assert shares == pytest.approx(np.bincount(labels.ravel(), minlength=150) / labels.size, abs=1e-6)
    assert [annotation['id'] for annotation in names['annotations']] == list(range(1, 1 + len(names['annotations'])))


def test_the_legend_is_below_the_picture(infer, models, tmp_path):
    save_images(tmp_path / 'photos', a=(60, 200))
    assert infer('photos', '--out', 'out') == 0 and infer('photos', '--out', 'bare', '--no-legend') == 0
    bare, legend = (np.asarray(Image.open(f'{out}/overlays/a.jpg')).astype(int) for out in ('bare', 'out'))
    assert bare.shape == (60, 200, 3) and legend.shape[0] > 60 + 13 and legend.shape[1] >= 200
    assert np.abs(legend[:56, :200] - bare[:56]).mean() < 3  # but for JPEG's blocks
    result = inference_model(init_model(*models(), device='cpu'), 'photos/a.jpg')
    colour = np.array(result.palette[np.bincount(result.mask.ravel()).argmax()])
    assert np.abs(legend[60:] - colour).sum(-1).min() < 60  # that of the largest class


def test_a_folder_of_many_kinds(infer, tmp_path, capsys):
    save_images(tmp_path / 'photos', a=(20, 30))
    save_images(tmp_path / 'photos/deep/er', a=(20, 30))
    (tmp_path / 'photos/.hidden').mkdir()
    shutil.copy(tmp_path / 'photos/a.jpg', tmp_path / 'photos/.hidden/b.jpg')
    (tmp_path / 'photos/folder.jpg').mkdir()
    (tmp_path / 'photos/gone.jpg').symlink_to('nowhere.jpg')
    (tmp_path / 'photos/round').symlink_to('..', target_is_directory=True)
    (tmp_path / 'notes.txt').write_text('no image\n')
    for number in range(4):
        (tmp_path / f'photos/broken{number}.jpg').write_bytes(b'\0')
    assert infer('photos', 'notes.txt', 'photos/deep', '--out', 'photos/out') == 1
    said = capsys.readouterr()
    assert 'numbered' not in said.err  # though some are named twice
    assert '2 of 8 images segmented' in said.out
    assert '6 skipped, listed in photos/out/skipped.txt:\n  notes.txt: this is a text file, no image.\n' in said.err
    assert said.err.count('broken') == 2 and said.err.endswith('  ...\n')
    skipped = Path('photos/out/skipped.txt').read_text().splitlines()
    assert len(skipped) == 6 and skipped[-1] == 'photos/gone.jpg: no such image file.'
    assert sorted(noted('photos/out')) == ['a', 'er/a']
    for path in (tmp_path / 'photos').glob('*[0-9e].jpg'):
        if not path.is_dir():
            path.unlink()
    assert infer('photos', '--out', 'photos/out') == 0  # its own outputs are no images
    assert sorted(noted('photos/out')) == ['a', 'deep/er/a', 'er/a'] and not Path('photos/out/skipped.txt').exists()
    assert infer('notes.txt', '--out', 'x') == 'error: notes.txt: this is a text file, no image.'


def test_a_classifier_goes_on_too(infer, tmp_path):
    save_photos(tmp_path / 'photos', 5)
    assert infer('photos', '--out', 'out', name=CLASSIFIER) == 0
    whole, journal = Path('out/predictions.csv').read_bytes(), Path('out/parts/0-of-1.jsonl')
    rows = list(csv.DictReader(open('out/predictions.csv', encoding='utf-8')))
    assert [row['rank'] for row in rows] == list('12345') * 5 and rows[5]['image'] == 'photos/d0/im, "001" é.jpg'
    journal.write_text(''.join(journal.read_text().splitlines(keepends=True)[:3]))
    assert infer('photos', '--out', 'out', '--batch-size', 2, name=CLASSIFIER) == 0
    assert Path('out/predictions.csv').read_bytes() == whole and len(noted('out')) == 5


def test_a_disk_that_is_full(infer, tmp_path, monkeypatch):
    save_photos(tmp_path / 'photos', 4)
    replace, places = os.replace, []

    def full(source, place):
        places.append(place)
        if len(places) > 3:
            raise OSError(28, 'No space left on device')
        replace(source, place)

    monkeypatch.setattr('mmwhitebox.cli.predictions.files.os.replace', full)
    message = infer('photos', '--out', 'out', '--workers', 0)
    assert message.startswith('error: out/') and message.endswith(' cannot be written (No space left on device).')
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert len(noted('out')) == 1 and infer('photos', '--out', 'out') == 0 and len(noted('out')) == 4


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='root may write anywhere')
def test_a_folder_that_cannot_be_written(infer, tmp_path):
    save_images(tmp_path / 'photos', a=(20, 30))
    (tmp_path / 'out').mkdir(mode=0o500)
    assert 'The folder out is not writable' in infer('photos', '--out', 'out')


def test_a_video_is_noted_when_it_is_whole(infer, tmp_path, capsys):
    for name in ('long', 'short'):
        save_video(tmp_path / f'{name}.avi', (0, 100, 200)[:3 if name == 'long' else 1], size=(50, 34))
    save_images(tmp_path, photo=(20, 30))
    assert infer('long.avi', 'short.avi', 'photo.jpg', '--out', 'out', *tables('out')) == 0
    assert '5 of 5 images' in capsys.readouterr().out
    film = cv2.VideoCapture('out/overlays/long.mp4')
    assert [film.get(getattr(cv2, f'CAP_PROP_{key}')) for key in ('FRAME_WIDTH', 'FRAME_HEIGHT', 'FPS')] == [50, 34, 5]
    rows = list(csv.DictReader(open('out/shares.csv')))
    assert [row['image'] for row in rows] == ['photo.jpg', 'long.avi#0', 'long.avi#1', 'long.avi#2', 'short.avi#0']
    whole, journal = outputs('out'), Path('out/parts/0-of-1.jsonl')
    lines = journal.read_text().splitlines(keepends=True)
    assert [json.loads(line.partition('\t')[0])[0] for line in lines[2:6]] == [
        'long/000000', 'long/000001', 'long/000002', 'long']
    journal.write_text(''.join(lines[:5] + lines[6:]))  # as if it were killed before the end of the long one
    assert infer('long.avi', 'short.avi', 'photo.jpg', '--out', 'out', *tables('out')) == 0
    again = outputs('out')
    assert {path for path in whole if whole[path] != again[path]} <= {'overlays/long.mp4'}  # the time is in its head
    assert noted('out').count('long/000001') == 2 and noted('out').count('short/000000') == 1


def save_geotiff(path, rasterio):
    from rasterio.transform import from_origin
    array = np.random.default_rng(0).integers(1, 256, (3, 40, 50), np.uint8)
    array[:, :10, :20] = 0
    with rasterio.open(path, 'w', driver='GTiff', height=40, width=50, count=3, dtype='uint8', nodata=0,
                       crs='EPSG:32632', transform=from_origin(5e5, 5e6, .5, .5)) as file:
        file.write(array)


def test_geotiffs_keep_their_place(infer, tmp_path, monkeypatch, capsys):
    rasterio = pytest.importorskip('rasterio')
    save_geotiff(tmp_path / 'map.tif', rasterio)
    save_images(tmp_path, photo=(20, 30))
    assert infer('map.tif', 'photo.jpg', '--out', 'out', *tables('out')) == 0
    with rasterio.open('out/labels/map.tif') as file, rasterio.open('map.tif') as source:
        assert (file.crs, file.transform, file.shape) == (source.crs, source.transform, source.shape)
        labels = file.read(1)
    assert Path('out/labels/photo.png').is_file() and (labels[:10, :20] == 255).all()
    assert (labels == 255).sum() == 200
    assert [row['pixels'] for row in csv.DictReader(open('out/shares.csv'))] == [str(40 * 50 - 200), '600']
    overlay, image = (np.asarray(Image.open(path))[:8, :16] for path in ('out/overlays/map.jpg', 'map.tif'))
    assert np.abs(overlay.astype(int) - image).mean() < 10  # no colour where there is no data
    assert infer('map.tif', 'photo.jpg', '--out', 'out', *tables('out')) == 0 and len(noted('out')) == 2


def test_a_georeference_that_is_lost_is_said_once(infer, tmp_path, monkeypatch, capsys):
    import tifffile
    for name in 'ab':
        tifffile.imwrite(tmp_path / f'{name}.tif', np.zeros((20, 30, 3), np.uint8), extratags=[
            (33550, 'd', 3, (.5, .5, 0.)), (33922, 'd', 6, (0., 0., 0., 5e5, 5e6, 0.))])
    monkeypatch.setattr('mmwhitebox.datasets.georeference.has_rasterio', lambda: False)
    assert infer('a.tif', 'b.tif', '--out', 'out') == 0
    assert Path('out/labels/a.png').is_file()
    assert capsys.readouterr().err.count('pip install rasterio') == 1


@pytest.mark.slow
def test_torchrun_does_what_one_process_does(infer, models, tmp_path):
    save_photos(tmp_path / 'photos', 7)
    assert infer('photos', '--out', 'one', *tables('one')) == 0
    done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--master-port',
                           '29641', '-m', 'mmwhitebox', 'infer', *models(), 'photos', '--out', 'two', *tables('two')],
                          cwd=tmp_path, text=True, capture_output=True, timeout=500,
                          env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    assert outputs('two') == outputs('one') and sorted(noted('two')) == sorted(noted('one'))
    assert len(list(Path('two/parts').glob('?-of-2.jsonl'))) == 2 and done.stdout.count('7 of 7 images') == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='memory is read from /proc')
def test_memory_does_not_grow_with_the_images(infer, tmp_path, monkeypatch):
    from mmwhitebox.cli.predictions.journal import Journal
    save_images(tmp_path / 'photos', **{f'{number:05d}': (8, 8) for number in range(3000)})
    taken, add = [], Journal.add

    def noting(*args):
        add(*args)
        with open('/proc/self/status') as file:
            taken.append(next(int(line.split()[1]) for line in file if line.startswith('VmRSS')))

    monkeypatch.setattr(Journal, 'add', noting)
    assert infer('photos', '--out', 'out', *tables('out')) == 0
    assert len(taken) == 3000 and taken[-1] - taken[500] < 20_000  # KiB, for 2500 images


def test_a_text_file_is_still_refused_where_nothing_may_be_left_out(tmp_path):
    from mmwhitebox.apis.sources import named_images
    (tmp_path / 'notes.txt').write_text('no image\n')
    with pytest.raises(UserError, match='this is a text file'):
        named_images([tmp_path / 'notes.txt'])
