"""Pictures that occur twice: the same, or nearly the same."""
from collections.abc import Sequence

import numpy as np

from .check_report import CheckedSet
from .checking import Finding
from .likeness import difference, near_copies


def find_copies(sets: Sequence[CheckedSet]) -> None:
    """Note pictures that occur twice: in one set a duplicate, in two splits a leak, with two labels a conflict.

    The pixels are compared, not the files: another name, suffix or lossless format makes no difference. Those that are
    nearly the same are found by :mod:`.likeness`, and told of the pair that is most alike.
    """
    digests = np.concatenate([checked.digests for checked in sets])
    labels = np.concatenate([checked.first_labels for checked in sets])
    owners = np.repeat(np.arange(len(sets)), [len(checked.digests) for checked in sets])
    places = np.concatenate([np.arange(len(checked.digests)) for checked in sets])

    def told(kind: str, current: int, first: int, text: str) -> None:
        original, copy = sets[owners[first]], sets[owners[current]]
        other = original.checker.name(places[first])
        copy.findings.append(Finding(kind, copy.checker.name(places[current]), text.format(
            f'{other} of {original.name}'), int(places[current]), other))

    exact = _copies(digests)
    for current, first in exact:
        told('duplicate' if owners[current] == owners[first] else 'leak', current, first,
             'the same picture as {}: keep one.')
        if labels[first] != labels[current]:
            told('label conflict', current, first, f'class {labels[current]} here, {labels[first]} of {{}}: correct '
                 'one.')
    known = {(current, bool(owners[current] != owners[first])) for current, first in exact}
    for current, first in _near(np.concatenate([checked.signatures for checked in sets]), digests, owners, known):
        told('near duplicate' if owners[current] == owners[first] else 'near leak', current, first,
             'nearly the same picture as {}: saved again, resized, retouched, or the next of a film.')


def _near(signatures: np.ndarray, digests: np.ndarray, owners: np.ndarray,
          known: set[tuple[int, bool]]) -> list[tuple[int, int]]:
    """(picture, that before it which is most alike), once within its set and once in another.

    Exact copies are none, and what is ``known`` as one (picture, whether that of another set) is not told again.
    """
    pairs = near_copies(signatures)
    pairs = pairs[(digests[pairs[:, 0]] != digests[pairs[:, 1]]).any(1)]
    apart = difference(*signatures[pairs].swapaxes(0, 1))
    across = owners[pairs[:, 0]] != owners[pairs[:, 1]]
    best: dict[tuple[int, bool], tuple[int, int]] = {}
    for place in np.argsort(apart, kind='stable').tolist():
        first, current = pairs[place].tolist()
        best.setdefault((current, bool(across[place])), (current, first))
    return sorted(pair for key, pair in best.items() if key not in known)


def _copies(digests: np.ndarray) -> list[tuple[int, int]]:
    """(copy, first sample with the same picture) for digests (S, 2), in the order of the copies; 0, 0 is no picture."""
    order = np.lexsort((np.arange(len(digests)), digests[:, 1], digests[:, 0]))
    order = order[digests[order].any(axis=1)]
    ranked = digests[order]
    is_copy = np.concatenate([[False], (ranked[1:] == ranked[:-1]).all(axis=1)])[:len(order)]
    starts = np.maximum.accumulate(np.where(is_copy, 0, np.arange(len(order))))
    return sorted(zip(order[is_copy].tolist(), order[starts[is_copy]].tolist()))
