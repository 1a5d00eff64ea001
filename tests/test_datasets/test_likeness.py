"""Near copies: what is saved again or resized is one, what looks alike is none, plain pictures are not judged."""
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mmwhitebox.datasets.likeness import ENOUGH, MOST_DIFFERENT, WORDS, difference, near_copies, signature


def photograph(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """(H, W, 3) uint8 whose spectrum falls as that of photographs does, 1 / frequency."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None] * size[0], np.fft.fftfreq(size[1]) * size[1])
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=size)) / np.maximum(frequency, 1)).real
    field = 128 + 45 * field / field.std()
    return np.repeat(field.clip(0, 255)[..., None], 3, 2).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file))


def resized(image: np.ndarray, factor: float, method: int) -> np.ndarray:
    size = tuple(round(side * factor) for side in image.shape[1::-1])
    return np.asarray(Image.fromarray(image).resize(size, method))


def noisy(image: np.ndarray) -> np.ndarray:
    return (image + np.random.default_rng(0).normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


AGAIN = {
    'jpeg': lambda image: jpeg(image, 75), 'bad jpeg': lambda image: jpeg(image, 30),
    'smaller': lambda image: resized(image, 0.5, Image.BICUBIC),
    'larger': lambda image: resized(image, 1.7, Image.BILINEAR),
    'smaller jpeg': lambda image: jpeg(resized(image, 0.6, Image.LANCZOS), 60), 'noise': noisy,
    'stretched': lambda image: np.asarray(Image.fromarray(image).resize((200, 90))),
    'brighter': lambda image: (image * 0.8 + 40).astype(np.uint8),
    'grey': lambda image: image[..., :1], 'blurred': lambda image: np.asarray(Image.fromarray(image).filter(
        ImageFilter.GaussianBlur(1))),
}


@pytest.mark.parametrize('how', AGAIN)
def test_what_is_saved_again_is_a_near_copy(how):
    originals = [photograph(seed) for seed in range(12)]
    signatures = np.stack([signature(image) for image in [*originals, *map(AGAIN[how], originals)]])
    assert near_copies(signatures).tolist() == [[i, i + 12] for i in range(12)]


def test_different_pictures_are_far_from_near():
    signatures = np.stack([signature(photograph(seed)) for seed in range(150)])
    assert not len(near_copies(signatures))
    every = difference(signatures[:, None], signatures[None])[np.triu_indices(150, 1)]
    assert every.min() > 3 * MOST_DIFFERENT


def plain(seed: int, shift: int = 0) -> np.ndarray:
    """A white page with a disc, on slight noise."""
    y, x = np.mgrid[:128, :128]
    page = np.where((y - 64) ** 2 + (x - 60 - shift) ** 2 < 900, 60, 230)
    return (page + np.random.default_rng(seed).integers(-2, 3, page.shape)).astype(np.uint8)


def test_plain_pictures_are_not_judged_and_those_alike_are_none():
    flat = [np.full((50, 60, 3), value, np.uint8) for value in (0, 128, 255)]
    faint = [(np.linspace(100, 110, 60) + np.random.default_rng(seed).integers(0, 3, (50, 60))).astype(np.uint8)
             for seed in range(5)]  # one gradient of light, on different plates
    signatures = np.stack([signature(image) for image in (*flat, *faint)])
    assert np.bitwise_count(signatures[:, 1]).sum(1).max() < ENOUGH and not len(near_copies(signatures))
    moved = np.stack([signature(plain(seed, 3 * seed)) for seed in range(8)])
    assert not len(near_copies(moved))


def test_what_is_compared_is_found_as_if_all_were():
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2 ** 63, (400, WORDS), np.uint64)
    words[200:] = words[:200] ^ (np.uint64(1) << rng.integers(0, 64, (200, WORDS), np.uint64))  # a bit of each word
    signatures = np.stack([words, np.full_like(words, 2 ** 64 - 1)], 1)
    apart = difference(signatures[:, None], signatures[None])
    every = np.argwhere(np.triu(apart <= MOST_DIFFERENT, 1))
    assert near_copies(signatures).tolist() == every.tolist() and len(every) == 200


def test_many_that_are_all_alike_end_soon():
    signatures = np.repeat(signature(photograph(0))[None], 3000, 0)
    pairs = near_copies(signatures)
    assert set(pairs[:, 1].tolist()) == set(range(1, 3000)) and len(pairs) < 3000 * 130


def test_bits_are_signs():
    y, x = np.mgrid[:64, :64]
    wave = np.cos(np.pi * (x + 0.5) * 3 / 64)  # the cosine of one frequency alone
    above, below = (signature((128 + sign * 100 * wave).round().astype(np.uint8)) for sign in (1, -1))
    assert np.bitwise_count(above[1]).sum() == 1 == np.bitwise_count(above[0]).sum()
    assert (above[1] == below[1]).all() and np.bitwise_count(below[0]).sum() == 0


def test_images_of_any_channels():
    picture = photograph(0)
    many = np.concatenate([picture, picture // 2], 2)
    assert difference(signature(many), signature(picture)) == 0
