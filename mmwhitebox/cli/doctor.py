"""The environment, what is wrong with it, and the line that mends it."""
import argparse
import importlib
import importlib.util
import itertools
import os
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

REQUIRED = {  # distribution -> least version, as in pyproject.toml
    'torch': '2.6', 'torchvision': '0.21', 'timm': '1.0.20', 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2', 'onedl-mmpretrain': '1.3.6', 'numpy': '2', 'safetensors': '0.5',
    'huggingface-hub': '0.25', 'matplotlib': '3.8', 'pillow': '10.4', 'contourpy': '1.2', 'scipy': '1.11',
    'rich': '13', 'prettytable': '3', 'opencv-python': '4.9', 'argcomplete': '3', 'pyyaml': '6', 'tifffile': '2024.8',
    'pycocotools': '2.0.7'
}
# Upstream packages that install the same import names as the forks, and so overwrite their files.
UPSTREAM = {
    'mmengine': 'onedl-mmengine', 'mmengine-lite': 'onedl-mmengine', 'mmcv': 'onedl-mmcv',
    'mmcv-lite': 'onedl-mmcv', 'mmcv-full': 'onedl-mmcv', 'mmsegmentation': 'onedl-mmsegmentation',
    'mmpretrain': 'onedl-mmpretrain', 'mmcls': 'onedl-mmpretrain'
}
IMPORTS = ('torch', 'torchvision', 'timm', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmwhitebox')


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def is_older(have: str, least: str) -> bool:
    """Whether version ``have`` lies below ``least``, by their leading numbers."""
    own, wanted = ([int(part) for part in itertools.takewhile(str.isdigit, text.split('+')[0].split('.'))]
                   for text in (have, least))
    return own < wanted


def check_packages() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Versions of the required packages; problems as (what is wrong, the line that mends it)."""
    rows, problems = [], []
    for name, least in REQUIRED.items():
        have = installed_version(name)
        rows.append((name, have or 'missing'))
        if have is None:
            problems.append((f'{name} is not installed', f'pip install "{name}>={least}"'))
        elif is_older(have, least):
            problems.append((f'{name} {have} is older than {least}', f'pip install -U "{name}>={least}"'))
    for name, fork in UPSTREAM.items():
        have = installed_version(name)
        if have is not None:
            rows.append((name, f'{have} (upstream, beside {fork})'))
            problems.append((f'{name} {have} overwrites the files of {fork}',
                             f'pip uninstall -y {name} {fork} && pip install "{fork}>={REQUIRED[fork]}"'))
    torch, vision = installed_version('torch'), installed_version('torchvision')
    if torch and vision and ('+cpu' in torch) != ('+cpu' in vision):
        problems.append((f'torch {torch} and torchvision {vision} are of different builds',
                         'pip install --force-reinstall torch torchvision'))
    return rows, problems


def check_imports() -> list[tuple[str, str]]:
    """Problems that show only when the packages are imported."""
    problems = []
    for name in IMPORTS:
        if importlib.util.find_spec(name) is None:
            continue  # reported as missing
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('error' if name == 'mmwhitebox' else 'ignore', UserWarning)
                importlib.import_module(name)
                if name == 'mmwhitebox':
                    importlib.import_module('mmwhitebox.apis')
                    importlib.import_module('mmwhitebox.engine')
        except UserWarning:
            continue
        except Exception as error:
            problems.append((f'import {name} fails: {type(error).__name__}: {error}',
                             'pip install --force-reinstall --no-deps -r requirements/lock.txt'))
    return problems


def accelerator_rows() -> list[tuple[str, str]]:
    """CUDA devices and Triton, as far as torch can tell."""
    try:
        import torch
    except ImportError:
        return []
    rows = [('CUDA (torch build)', torch.version.cuda or 'none')]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            name, (major, minor) = torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i)
            rows.append((f'GPU {i}', f'{name}, compute capability {major}.{minor}'))
    else:
        rows.append(('GPU', 'none: everything runs on the CPU'))
    from mmwhitebox.ops.precision import bf16_is_emulated
    if bf16_is_emulated('cpu'):
        rows.append(('bf16 on the CPU', 'emulated, slower than fp32: it has no AVX512-BF16 and no AMX'))
    rows.append(('Triton', installed_version('triton') or 'missing: fused kernels are off'))
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument('--gpu', action='store_true',
                        help='compare the Triton kernels of every operator with its equation, on the first GPU (in '
                        "Triton's interpreter, TRITON_INTERPRET=1, on the CPU)")


def kernel_report() -> int:
    """Print how far the kernels agree with the equations; 1 if one does not.

    Raises:
        UserError: There is no GPU, and Triton's interpreter is off.
    """
    import torch
    from prettytable import PrettyTable

    from mmwhitebox.errors import UserError
    from mmwhitebox.ops.self_check import compare_kernels

    interpreted = os.environ.get('TRITON_INTERPRET') == '1'
    if not torch.cuda.is_available() and not interpreted:
        raise UserError('--gpu: torch sees no GPU. TRITON_INTERPRET=1 compares the kernels in an interpreter, slowly.')
    found = compare_kernels('cpu' if interpreted else 'cuda')
    table = PrettyTable(['operator', 'type', 'output', 'worst gradient', 'allowed', 'seconds', 'verdict'], align='l')
    for each in found:
        worst = max(each.gradient_errors.items(), key=lambda item: item[1], default=None)
        table.add_row([each.operator, str(each.dtype).removeprefix('torch.'),
                       '-' if worst is None else f'{each.output_error:.1e}',
                       '-' if worst is None else f'{worst[1]:.1e} ({worst[0]})',
                       f'{each.tolerance:.0e}', f'{each.seconds:.1f}', each.reason or 'agrees'])
    print(f"{table}\nErrors are relative, ||difference|| / ||naive form in float64||. "
          "impl='auto' takes the kernels that agree.")
    return int(not all(each.agrees for each in found))


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something is wrong."""
    if getattr(args, 'gpu', False):
        return kernel_report()
    rows = [('Python', f'{platform.python_version()} ({sys.executable})'), ('platform', platform.platform())]
    package_rows, problems = check_packages()
    rows += [*package_rows, ('mmwhitebox', installed_version('mmwhitebox') or 'not installed, used from its folder'),
             *accelerator_rows()]
    problems += check_imports()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f'{name:<{width}}  {value}')
    print()
    for what, line in problems:
        print(f'wrong: {what}\n  mend it: {line}')
    if not problems:
        print('Nothing is wrong.')
    return int(bool(problems))
