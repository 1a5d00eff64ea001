"""What a look into a model found on one image, to keep, to send and to show."""
import copy
import html
from collections.abc import Set
from pathlib import Path

import numpy as np

from mmwhitebox.checkpoints.atomic import write_bytes
from mmwhitebox.errors import UserError, WriteError
from mmwhitebox.interpret.coding_rate import QUANTITIES, STAGES

from .array_container import pack, quantize
from .explorer_page import page

FRAME_HEIGHT = 900  # pixels, in a notebook
PAGE_SUFFIXES = ('.html', '.htm')


class Exploration:
    """What :func:`mmwhitebox.apis.explore` found. A notebook shows it as the explorer's page.

    Attributes:
        header (dict): What JSON can say: the model, the image, its prediction, the layers and their rates, with the
            names of arrays.
        arrays (dict[str, np.ndarray]): Name -> array, float32, uint8 or int32.
    """

    def __init__(self, header: dict, arrays: dict[str, np.ndarray], group_axes: dict[str, int]) -> None:
        self.header = header
        self.arrays = arrays
        self._group_axes = group_axes

    def rows(self) -> list[dict]:
        """The rates as a table: one row for each layer and stage, ``layer``, ``name``, ``stage`` and every quantity."""
        rows = [dict(layer=layer['number'], name=layer['name'], stage=stage,
                     **{quantity: values[stage] for quantity, values in layer['rates'].items()})
                for layer in self.header['layers'] if layer['rates'] for stage in STAGES]
        return [row for row in rows if any(row[quantity] is not None for quantity in QUANTITIES)]

    def to_bytes(self, bits: int = 16) -> bytes:
        """Header and arrays as one block, see :mod:`mmwhitebox.apis.array_container`.

        Args:
            bits (int): Of a number of a layer's arrays: 8, 16, or 32, which quantises nothing. The prediction has 16 at
                least. Defaults to 16.
        """
        packed: dict = {}
        for name, array in self.arrays.items():
            kept = bits if name.startswith('layer') else max(bits, 16)
            exact = kept == 32 or array.dtype != np.float32 or not np.isfinite(array).all()
            packed[name] = array if exact else quantize(array, kept, self._group_axes[name])
        return pack(self.header, packed)

    def without(self, names: Set[str], note: str) -> 'Exploration':
        """The same without some arrays of the layers: their maps are missing, their tokens are None.

        Args:
            names (Set[str]): Of arrays.
            note (str): A sentence that says so, for ``header['notes']``.
        """
        header = copy.deepcopy(self.header)
        header['notes'].append(note)
        for layer in header['layers']:
            layer['tokens'] = None if layer['tokens'] in names else layer['tokens']
            layer['maps'] = {kind: found for kind, found in layer['maps'].items()
                             if not names & set(found.values() if isinstance(found, dict) else [found])}
        arrays = {name: array for name, array in self.arrays.items() if name not in names}
        return Exploration(header, arrays, self._group_axes)

    def save(self, path: str | Path) -> Path:
        """Write the explorer's page with this image, as one file that needs no server and no network.

        Args:
            path (str | Path): NAME.html.

        Raises:
            UserError: Another suffix, too much data for a page.
            WriteError: The file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in PAGE_SUFFIXES:
            raise UserError(f'{path}: the page is a file NAME.html.')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f'{path} cannot be written ({error.strerror}).') from error
        write_bytes(path, page([self]).encode())
        return path

    def _repr_html_(self) -> str:
        return (f'<iframe srcdoc="{html.escape(page([self]))}" sandbox="allow-scripts allow-downloads" width="100%" '
                f'height="{FRAME_HEIGHT}" style="border: 0"></iframe>')

    def __repr__(self) -> str:
        image, model = self.header['image'], self.header['model']
        what_if = ', '.join(item['kind'] for item in self.header['what_if'])
        grid = ' x '.join(map(str, self.header['grid']))
        disturbed = f', disturbed: {what_if}' if what_if else ''
        return (f'Exploration of {image["name"]} by {model["name"]}\n'
                f'  {len(self.header["layers"])} layers, patches of a {grid} grid{disturbed}\n'
                '  .header .arrays .rows() .to_bytes(bits) .save(path)')
