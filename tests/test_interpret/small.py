"""Small models with weights on disk, small images and datasets, and the analysis commands as functions."""
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmwhitebox.apis import init_model
from mmwhitebox.cli.main import build_parser
from mmwhitebox.cli.options import parse
from tests.configs import reduced


def save_model(folder: Path, name: str, **dataset) -> list:
    """[config, checkpoint] of a config with one or two layers; ``dataset`` overrides its test dataset."""
    cfg = reduced(name)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.test_dataloader.dataset.update(dataset)
    return save_config(folder, name, cfg)


def save_config(folder: Path, name: str, cfg: Config) -> list:
    """[config, checkpoint] of a config, with random weights."""
    config = folder / Path(name).name
    checkpoint = config.with_suffix('.pth')
    cfg.dump(config)
    torch.manual_seed(0)
    torch.save(dict(state_dict=init_model(cfg, device='cpu').state_dict()), checkpoint)
    return [str(config), str(checkpoint)]


def save_images(folder: Path, **sizes) -> str:
    """A folder of noise images, name=(height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f'{name}.jpg')
    return str(folder)


def save_ade(root: Path, **sizes) -> str:
    """A validation set in the layout of ADE20K: left half 'wall' (1), right half 'building' (2)."""
    save_images(root / 'images' / 'validation', **sizes)
    (root / 'annotations' / 'validation').mkdir(parents=True)
    for name, (height, width) in sizes.items():
        labels = np.ones((height, width), np.uint8)
        labels[:, width // 2:] = 2
        Image.fromarray(labels).save(root / 'annotations' / 'validation' / f'{name}.png')
    return str(root)


def command(name: str):
    """A measure, or the report, as a function of its arguments; it raises what the command says in one line."""
    words = ['report'] if name == 'report' else ['measure', name]

    def main(argv: list[str]) -> int:
        args = parse(build_parser(), [*words, *argv])
        return args.run(args) or 0

    return main


def numbers(out: Path, name: str) -> list:
    """Rows that a command wrote."""
    assert (out / f'{name}.csv').stat().st_size
    return json.loads((out / f'{name}.json').read_text())
