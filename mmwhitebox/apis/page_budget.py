"""Data that fit into a page: fewer bits first, then fewer arrays.

In this order, until they fit: numbers of 16 bits, numbers of 8 bits; then without the tokens of one layer after
another, the last layers of encoder and decoder at the end; then without its maps over the tokens in the same way. What
is left out is said in the notes of the page.
"""
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mmwhitebox.errors import UserError

if TYPE_CHECKING:
    from .exploration import Exploration

LIMIT = 25_000_000
"""Bytes of a page."""
FEW_BITS = 8
PARTS = ('tokens', 'attention maps')


def as_text(size: int) -> int:
    """Characters of so many bytes in base64."""
    return -(-size // 3) * 4


def fitting(explorations: 'Sequence[Exploration]', limit: int) -> list[bytes]:
    """The bytes of explorations, together not longer than a limit in base64.

    Args:
        explorations (Sequence[Exploration]): What is to be in a page.
        limit (int): Characters of all together.

    Returns:
        list[bytes]: Of each.

    Raises:
        UserError: They do not fit without all that can be left out.
    """
    found = [exploration.to_bytes() for exploration in explorations]
    names: list[set[str]] = [set() for _ in explorations]
    dropped: list[dict[str, list[int]]] = [{part: [] for part in PARTS} for _ in explorations]
    if length(found) > limit:
        found = reduced(explorations, names, dropped)
    over = length(found) - limit
    if over <= 0:
        return found
    for part, index, number, arrays in droppable(explorations):
        over -= sum(as_text(explorations[index].arrays[name].size) for name in arrays - names[index])
        names[index] |= arrays
        dropped[index][part].append(number)
        if over <= 0:
            break
    found = reduced(explorations, names, dropped)
    if length(found) > limit:
        raise UserError(f'The data of the page would have {length(found) / 1e6:.1f} MB, and {max(limit, 0) / 1e6:.1f} '
                        'MB are the most: choose fewer images or models, or smaller images.')
    return found


def length(blocks: Sequence[bytes]) -> int:
    """Characters of some bytes in base64."""
    return sum(as_text(len(block)) for block in blocks)


def reduced(explorations: 'Sequence[Exploration]', names: Sequence[set[str]],
            dropped: Sequence[dict[str, list[int]]]) -> list[bytes]:
    """Explorations of few bits, without some arrays, with a note that says so."""
    return [exploration.without(gone, note_of(parts)).to_bytes(FEW_BITS)
            for exploration, gone, parts in zip(explorations, names, dropped)]


def droppable(explorations: 'Sequence[Exploration]') -> Iterator[tuple[str, int, int, set[str]]]:
    """What can be left out, in order: the part, the index of the exploration, the number of the layer, its arrays."""
    for part in PARTS:
        for last in (False, True):
            for position in range(max((len(exploration.header['layers']) for exploration in explorations), default=0)):
                for index, exploration in enumerate(explorations):
                    layers = exploration.header['layers']
                    if position < len(layers) and _is_last(layers, position) == last:
                        arrays = _arrays(layers[position], part)
                        if arrays:
                            yield part, index, layers[position]['number'], arrays


def _is_last(layers: Sequence[dict], position: int) -> bool:
    """Whether a layer is the last of the encoder or of the decoder."""
    return position + 1 == len(layers) or layers[position + 1]['part'] != layers[position]['part']


def _arrays(layer: dict, part: str) -> set[str]:
    if part == 'tokens':
        return {layer['tokens']} - {None}
    maps = [layer['maps'].get(kind, {}) for kind in ('attention', 'representatives')]
    return {found[key] for found in maps for key in ('a', 'b', 'q', 'k', 'rows') if key in found}


def note_of(dropped: dict[str, list[int]]) -> str:
    """A sentence that says what is left out."""
    missing = [f'the {part} of layer{"s" if len(numbers) > 1 else ""} {", ".join(map(str, sorted(numbers)))}'
               for part, numbers in dropped.items() if numbers]
    return (f'So that this page is not too large, the numbers of its layers have {FEW_BITS} bits' +
            (f', and {" and ".join(missing)} are left out.' if missing else '.'))
