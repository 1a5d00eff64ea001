"""What training scripts store beside weights, read as plain data: paths, arguments, OmegaConf containers."""
import argparse
import pathlib
from collections import defaultdict

OMEGACONF = {
    'omegaconf.dictconfig': ('DictConfig', ),
    'omegaconf.listconfig': ('ListConfig', ),
    'omegaconf.base': ('ContainerMetadata', 'Metadata'),
    'omegaconf.nodes': ('AnyNode', 'BooleanNode', 'BytesNode', 'FloatNode', 'IntegerNode', 'PathNode', 'StringNode'),
}


class Plain:
    """Stands for an object of another library: its attributes are kept, nothing of the library is imported or run."""


def plain_types() -> list[type | tuple[type, str]]:
    """Types for ``torch.serialization.safe_globals``, with the names under which files ask for them.

    A path becomes a pure one, which cannot touch a file system. What OmegaConf wrote becomes :class:`Plain`, whether
    it is installed or not.
    """
    paths = [(pure, f'{module}.{name}') for module in ('pathlib', 'pathlib._local')
             for pure in (pathlib.PurePosixPath, pathlib.PureWindowsPath)
             for name in (pure.__name__, pure.__name__.removeprefix('Pure'))]
    omegaconf = [(Plain, f'{module}.{name}') for module, names in OMEGACONF.items() for name in names]
    builtins = [(kind, f'builtins.{kind.__name__}') for kind in (dict, list, int, float, str, bool)]
    return [argparse.Namespace, *paths, *omegaconf, *builtins, (Plain, 'typing.Any'), defaultdict]
