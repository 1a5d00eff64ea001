"""Pictures that are the same but for their encoding or their size, told by the signs of their cosine transforms.

A picture is shrunk to 64 x 64 grey pixels. Of its cosine transform the 1024 lowest frequencies are kept, each as two
bits: its sign, and whether it stands out of what encoding and resizing may change. Two pictures are near copies if
nearly all signs agree of the frequencies that stand out in both. Different pictures agree in half of them. Plain
pictures have too few of them to be judged, and are none.
"""
import cv2
import numpy as np
import scipy.fft

SIDE, KEPT = 64, 32
WORDS = KEPT * KEPT // 64
STANDS_OUT = 8.  # grey levels of an orthonormal coefficient; JPEG and resizing change it by about 1, of icons by 4
ENOUGH = 96  # frequencies that stand out in both
MOST_DIFFERENT = 0.08  # share of the signs that may differ
BAND = 16  # bits that near copies have in common, of one in four places at least
NEIGHBOURS = 32  # compared with each picture, of those that share a band
_frequencies = np.indices((KEPT, KEPT)).reshape(2, -1)
ORDER = np.lexsort((_frequencies[0], (_frequencies ** 2).sum(0)))  # the lowest frequencies first; the first is the mean


def signature(image: np.ndarray) -> np.ndarray:
    """The signs of a picture, and which of them count.

    Args:
        image (np.ndarray): (H, W) or (H, W, C), of which three channels are looked at; from 0 to 255.

    Returns:
        np.ndarray: (2, 16) uint64: the signs (0 where they do not count), and where they do.
    """
    image = image[..., :3] if image.ndim == 3 else image  # OpenCV resizes four at most
    small = cv2.resize(np.ascontiguousarray(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = small.mean(2) if small.ndim == 3 else small
    coefficients = scipy.fft.dctn(grey, norm='ortho')[:KEPT, :KEPT].ravel()[ORDER]
    known = abs(coefficients) >= STANDS_OUT
    known[0] = False  # the mean
    return np.packbits([known & (coefficients > 0), known], axis=1).view(np.uint64)


def near_copies(signatures: np.ndarray) -> np.ndarray:
    """Pairs of near copies, without comparing every picture with every other.

    Those are compared that agree in 16 of the 64 lowest frequencies, in one of four places; of many such each with the
    32 that follow when all are sorted.

    Args:
        signatures (np.ndarray): (S, 2, 16) uint64; zeros for what is no picture.

    Returns:
        np.ndarray: (P, 2) int64 of indices, the smaller first, sorted, each pair once.
    """
    judged = np.flatnonzero(np.bitwise_count(signatures[:, 1]).sum(1) >= ENOUGH)
    found = [np.empty((0, 2), np.int64)]
    for place in range(0, 64, BAND):
        words = signatures[judged, 0, 0]
        words = words << np.uint64(place) | words >> np.uint64(64 - place) if place else words
        order = judged[np.argsort(words, kind='stable')]
        bands = np.sort(words) >> np.uint64(64 - BAND)
        for step in range(1, NEIGHBOURS + 1):
            together = np.flatnonzero(bands[step:] == bands[:-step])
            if not len(together):
                break
            pairs = np.sort(np.stack([order[together], order[together + step]], 1), 1)
            found.append(pairs[difference(*signatures[pairs].swapaxes(0, 1)) <= MOST_DIFFERENT])
    return np.unique(np.concatenate(found), axis=0)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of the signs that differ, of those that count in both; 1 where these are too few.

    Args:
        one, other (np.ndarray): (..., 2, 16) uint64.

    Returns:
        np.ndarray: (...) float.
    """
    both = one[..., 1, :] & other[..., 1, :]
    count = np.bitwise_count(both).sum(-1, dtype=np.int64)
    differ = np.bitwise_count((one[..., 0, :] ^ other[..., 0, :]) & both).sum(-1, dtype=np.int64)
    return np.where(count >= ENOUGH, differ / np.maximum(count, 1), 1.)
