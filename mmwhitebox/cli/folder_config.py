"""The config that ``mmwhitebox new`` would write for a folder, for a check of the folder alone."""
import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmwhitebox.config.reading import load_config
from mmwhitebox.config.starting import choose, config_text
from mmwhitebox.datasets.formats import CLASSIFICATION, Findings, Pairs, look, rasterize
from mmwhitebox.datasets.meanings import Meaning, meaning_of

from .new import MODELS, divided, of_images, of_masks

LOOKED_AT = 1000  # images, to know what the masks hold


def folder_config(folder: str, scratch: Path, options: dict | None = None) -> tuple[Config, list[str]]:
    """Read a folder as ``new`` does, with the usual answers; broken samples are kept.

    Args:
        folder (str): All of the data set.
        scratch (Path): Folder for the config and for the masks that are drawn of polygons.
        options (dict, optional): Overrides, key with dots -> value.

    Returns:
        tuple: The config, and what was taken for granted, a sentence each.

    Raises:
        UserError: It holds no data set, or none that can be trained on.
    """
    args = argparse.Namespace(folder=Path(folder), kind=None, val_share=0.2, seed=0, group_prefix=None, channels=None,
                              channel_axis=None, value_range=None, replace_nan=None)
    pairs, own = divided(args)
    task = 'cls' if pairs.kind in CLASSIFICATION else 'seg'
    if task == 'seg' and pairs.kind != 'masks':
        own['cache'] = str(scratch / 'masks')
        pairs = rasterize(pairs, own['cache'])
    found = look(pairs, LOOKED_AT)
    words: list[str] = []
    own.update(of_images(found, args, words))
    if task == 'seg':
        meaning = with_swapped_colours(pairs, found) or meaning_of(pairs, found, lambda about, question, usual: usual)
        own.update(of_masks(meaning))
        words += meaning.words
    else:
        own['classes'] = list(pairs.classes or sorted({sample.names[0] for sample in pairs.samples}))
    start = choose(task, MODELS[task], found.sizes, len(pairs.of('train')), len(pairs.of('val')))
    path = scratch / 'my_data.py'
    path.write_text(config_text(start, own, [], bool(pairs.of('test'))), encoding='utf-8')
    return load_config(str(path), options), words


def with_swapped_colours(pairs: Pairs, found: Findings) -> Meaning | None:
    """The classes that a file of colours names, if the masks have these with red and blue swapped; else None."""
    stated: dict[Any, str] = {tuple(colour): name for name, colour in pairs.colours.items()}
    seen = {value.value for value in found.values} if found.kind == 'rgb' else set()
    swapped = seen and not seen <= set(stated) and {colour[::-1] for colour in seen} <= set(stated)
    return Meaning(stated, coloured=True) if swapped else None
