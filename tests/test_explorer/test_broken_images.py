"""Files that are broken, hostile or odd: each is refused in a sentence, or read as it is meant."""
import io
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from mmwhitebox.explorer.images import MAX_PIXELS, Picture, Pictures, read_picture

from .conftest import explorer, run

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning:PIL', 'ignore::PIL.Image.DecompressionBombWarning')
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def file(kind: str = 'PNG', array: np.ndarray = COLOURS, mode: str | None = None, **kwargs) -> bytes:
    """An image file."""
    image = Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **kwargs)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(width: int, height: int, data: bytes = b'', *more: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG with a header of its own."""
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)) + \
        b''.join(more) + chunk(b'IDAT', zlib.compress(data, 9)) + chunk(b'IEND', b'')


def gif(frames: int) -> bytes:
    """A GIF of many frames of a pixel each, without the work of writing each."""
    frame = b'\x21\xf9\x04\0\0\0\0\0' + b'\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0'
    return b'GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff' + frame * frames + b';'


def exif(orientation: int) -> Image.Exif:
    """EXIF with an orientation."""
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def tiff(width: int, height: int, tags: tuple = ()) -> bytes:
    """A TIFF of grey pixels whose header may say anything."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
               (273, 4, 1, 200), (278, 4, 1, height), (279, 4, 1, 1), *tags]
    body = b'II*\0' + struct.pack('<IH', 8, len(entries))
    return body + b''.join(struct.pack('<HHII', *entry) for entry in entries) + bytes(200)


WHOLE = {'png': file(), 'jpg': file('JPEG'), 'gif': file('GIF'), 'bmp': file('BMP'),
         'webp': file('WEBP', lossless=True), 'tif': file('TIFF'), 'ppm': file('PPM')}
BROKEN = {
    'empty': b'', 'a byte': b'\0', 'zeros': bytes(5000), 'text': b'no image at all\n' * 9, 'noise': RNG.bytes(5000),
    'html': b'<!doctype html><script>alert(1)</script>', 'json': b'{"a": 1}', 'pdf': b'%PDF-1.7\n%%EOF',
    'svg': b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    'svg with an entity': b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
    'eps': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) (r) file\n',
    'zip': b'PK\x05\x06' + bytes(18), 'gzip': b'\x1f\x8b\x08' + bytes(20), 'elf': b'\x7fELF' + bytes(60),
    'pickle': b'\x80\x04cos\nsystem\n(S"true"\ntR.', 'icon': file('ICO'), 'pcx': file('PCX'), 'tga': file('TGA'),
    'psd': b'8BPS\0\1' + bytes(40),
    **{f'{name} cut': data[:len(data) // 2] for name, data in WHOLE.items()},
    **{f'{name} header alone': data[:12] for name, data in WHOLE.items()},
    'png of a wrong checksum': WHOLE['png'].replace(b'IHDR', b'IHDR', 1)[:29] + b'\0\0\0\0' + WHOLE['png'][33:],
    'png without pixels': png(20, 12), 'png of no width': png(0, 12), 'png of too few pixels': png(20, 12, bytes(9)),
    'png of a depth that is none': png(20, 12, bytes(999), depth=3),
    'png of 4 milliards of pixels': png(2**16, 2**16), 'png as wide as can be': png(2**31 - 1, 1),
    'png whose size overflows': png(2**32 - 1, 2**32 - 1), 'png just too large': png(MAX_PIXELS + 1, 1),
    'png that unpacks to 100 MB': png(10_000, 10_000, bytes(100_000_000)),
    'png with a text of 100 MB': png(20, 12, bytes(732), chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(10**8), 9))),
    'gif of a huge frame': b'GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\xff\xff\xff\xff\0\x02\0;',
    'bmp of negative width': WHOLE['bmp'][:18] + struct.pack('<i', -20) + WHOLE['bmp'][22:],
    'bmp of huge height': WHOLE['bmp'][:22] + struct.pack('<i', 2**31 - 1) + WHOLE['bmp'][26:],
    'tiff of huge size': tiff(2**31, 2**31), 'tiff whose pages are a circle': WHOLE['tif'][:4] + struct.pack('<I', 4),
    'tiff of nothing': b'II*\0\xff\xff\xff\xff', 'tiff of floats': file('TIFF', RNG.random((4, 4), np.float32)),
    'ppm of huge size': b'P6 99999 99999 255\n' + bytes(9), 'ppm of words': b'P6 a b c\n',
    'ppm of negative size': b'P6 -5 5 255\n',
    'jpeg of no components': b'\xff\xd8\xff\xc0\0\x08\x08\0\x10\0\x10\0\xff\xd9', 'jpeg start alone': b'\xff\xd8\xff',
    'jpeg as large as can be': WHOLE['jpg'][:WHOLE['jpg'].index(b'\xff\xc0') + 5] + b'\xff\xff\xff\xff'
                               + WHOLE['jpg'][WHOLE['jpg'].index(b'\xff\xc0') + 9:],
    'webp of a wrong length': WHOLE['webp'][:4] + b'\xff\xff\xff\x7f' + WHOLE['webp'][8:30],
}
GREY, EYE = COLOURS[..., 0], np.eye(8, dtype=np.uint8) * 255
READ = {
    **{name: (WHOLE[name], COLOURS) for name in ('png', 'bmp', 'webp', 'tif', 'ppm')},
    '16 bits': (file(array=GREY.astype(np.uint16) * 257), np.repeat(GREY[..., None], 3, 2)),
    '16 bits as tiff': (file('TIFF', array=GREY.astype(np.uint16) * 257), np.repeat(GREY[..., None], 3, 2)),
    'grey': (file(array=GREY), np.repeat(GREY[..., None], 3, 2)),
    'alpha': (file(mode='RGBA'), COLOURS),
    'palette': (file(array=EYE, mode='P'), np.repeat(EYE[..., None], 3, 2)),
    'a bit a pixel': (file(array=EYE > 0), np.repeat(EYE[..., None], 3, 2)),
    'a million frames': (gif(1_000_000), (1, 1)),
    'a tiff with a tag of a milliard of values': (tiff(4, 4, ((700, 1, 2**30, 8), )), (4, 4)),
    'turned by exif': (file('PNG', exif=exif(6)), np.rot90(COLOURS, -1)),
    'turned tiff': (file('TIFF', tiffinfo={274: 6}), np.rot90(COLOURS, -1)),
    'mirrored by exif': (file('WEBP', lossless=True, exif=exif(2)), COLOURS[:, ::-1]),
    'an orientation that is none': (file('PNG', exif=exif(99)), COLOURS),
    'exif that is none': (file('PNG')[:-12] + chunk(b'eXIf', b'II*\0\xff\xff\xff\xff') + file('PNG')[-12:], COLOURS),
    'more after the end': (WHOLE['png'] + b'<script>alert(1)</script>' * 99, COLOURS),
    'a pixel': (file(array=COLOURS[:1, :1]), COLOURS[:1, :1]),
    'a line': (file(array=np.tile(COLOURS[:1], (1, 500, 1))), np.tile(COLOURS[:1], (1, 500, 1))),
}


def test_there_are_fifty_broken_files():
    assert len(BROKEN) >= 50 and len(set(BROKEN.values())) == len(BROKEN)


@pytest.fixture(scope='module')
def client():
    with explorer() as client:
        yield client


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_file_is_refused_in_a_sentence(client, name):
    start = time.process_time()
    answer = client.post('/api/images', content=BROKEN[name], headers={'X-Name': 'x.png'})
    assert answer.status_code in (413, 415), answer.text
    said = answer.json()['error']
    assert said.startswith('x.png: ') and '\n' not in said and len(said) < 300 and ' at 0x' not in said
    assert time.process_time() - start < 2
    assert not client.pictures.uploads


@pytest.mark.parametrize('name', READ)
def test_an_odd_file_is_read_as_it_is_meant(client, name):
    data, pixels = READ[name]
    uploaded = client.post('/api/images', content=data).json()
    client.pictures.uploads.clear()
    if isinstance(pixels, tuple):
        assert (uploaded['width'], uploaded['height']) == pixels
    else:
        assert (uploaded['height'], uploaded['width']) == pixels.shape[:2]
        assert np.array_equal(read_picture(Picture('', '', data=data)), pixels)


def test_jpegs_are_read_about_as_they_are_meant():
    smooth = np.repeat(np.add.outer(np.arange(16), np.arange(24))[..., None] * 5, 3, 2).astype(np.uint8)
    upright = read_picture(Picture('', '', data=file('JPEG', smooth, quality=95, exif=exif(8)))).astype(int)
    assert np.abs(upright - np.rot90(smooth)).max() < 8


def test_a_bomb_is_refused_before_it_is_unpacked():
    data = png(30_000, 30_000, bytes(1000))
    tracemalloc.start()
    with pytest.raises(Exception, match='image: more than the 50 million pixels'):
        Pictures().upload(data)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_files_of_the_folder_are_not_trusted_either(tmp_path):
    for name, data in {'bomb.png': png(2**16, 2**16), 'text.png': b'text', 'strip.tif': tiff(2**31, 2**31)}.items():
        (tmp_path / name).write_bytes(data)
    with explorer(Pictures(sorted(tmp_path.iterdir()), tmp_path)) as client:
        ids = {picture.name: key for key, picture in client.pictures.listed.items()}
        assert run(client, ids['bomb.png']).status_code == run(client, ids['strip.tif']).status_code == 413
        assert run(client, ids['text.png']).status_code == 200  # the model's own reader judges
        for key in ids.values():
            answer = client.get(f'/api/images/{key}/thumbnail')
            assert answer.status_code in (413, 415) and 'error' in answer.json()


@pytest.mark.parametrize('given, name', [
    ('', 'image'), ('%00%0a', 'image'), ('a%2Fb.png', 'b.png'), ('..%5C..%5Cc.png', 'c.png'), ('%ff%fe', '��'),
    ('%E2%80%AEgnp.exe', 'gnp.exe'), ('x' * 999, 'x' * 200), ('%', '%'), ('a/', 'image')])
def test_a_name_is_a_short_printable_text(client, given, name):
    assert client.post('/api/images', content=WHOLE['png'], headers={'X-Name': given}).json()['name'] == name
    client.pictures.uploads.clear()
