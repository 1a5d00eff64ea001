"""What ``mmwhitebox measure knn`` does; readings: :mod:`mmwhitebox.interpret.knn` and ``linear_probe``."""
import argparse
import math
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from prettytable import PrettyTable
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from mmwhitebox.apis import init_model
from mmwhitebox.apis.data import building, evaluation_split
from mmwhitebox.cli.measures.inputs import open_model
from mmwhitebox.cli.measures.outputs import save_numbers
from mmwhitebox.cli.measures.selection import named_models
from mmwhitebox.datasets import check_datasets
from mmwhitebox.engine.feature_scores import Bank, KNNAccuracy, LinearProbeAccuracy
from mmwhitebox.engine.feature_validation import bank_loader, check_bank, check_labels, collect_bank, num_classes_of
from mmwhitebox.engine.silence import silent
from mmwhitebox.errors import NotApplicableError


def loaders(model: BaseModel) -> tuple[DataLoader, DataLoader]:
    """Loaders of the bank, which is the training set of the config or what ``val_cfg.bank`` names, and of the test set.

    Raises:
        UserError: The config lacks one of them, they are not where it says, images have no labels.
    """
    cfg: Any = model.cfg
    split = evaluation_split(cfg)
    if 'decode_head' in cfg.model or not hasattr(model, 'extract_feat'):
        raise NotApplicableError(f'measure knn: {type(model).__name__} is not about images of one class each: give a '
                                 'self-supervised model or a classifier.')
    if split is None:
        raise NotApplicableError('measure knn: the config has no test or validation dataset, which the score needs: '
                                 'give one with labels, as configs/_base_/datasets/imagenet_224.py has it.')
    bank = (cfg.get('val_cfg') or {}).get('bank')
    check_datasets(cfg, (split, ) if bank else ('train', split))
    known, held_out = bank_loader(cfg, bank, split), {**cfg[f'{split}_dataloader'], 'persistent_workers': False}
    if bank:
        check_bank(cfg, known)
    with building(cfg):
        found = Runner.build_dataloader(known), Runner.build_dataloader(held_out)
    for loader, name in zip(found, ('the bank', f'{split}_dataloader')):
        check_labels(loader, name)
    return found


def at_the_start(model: BaseModel, device: str | None, seed: int) -> BaseModel:
    """The model of the same config as its training begins with it: initial weights, from a seed."""
    torch.manual_seed(seed)
    untrained = init_model(model.cfg, None, device)
    with building(model.cfg), silent():
        untrained.init_weights()
    return untrained.eval()


def features(model: BaseModel, loader: DataLoader, what: str) -> Bank:
    """Features of a loader's images, with a progress bar."""
    batches = track(loader, description=what, total=len(loader), console=Console(stderr=True))
    return collect_bank(model, loader, what, batches=batches)


def main(args: argparse.Namespace) -> None:
    metrics = [KNNAccuracy(args.k, args.temperature), LinearProbeAccuracy(args.penalty)]
    rows = []
    for name, pair in named_models(args).items():
        model = open_model(args, *pair)
        bank_images, held_out = loaders(model)
        for metric in metrics:
            metric.check_bank(len(bank_images.dataset), num_classes_of(bank_images))
        for weights, network in (('trained', model), ('at the start', at_the_start(model, args.device, args.seed))):
            bank, asked = features(network, bank_images, f'{name}: bank'), features(network, held_out, f'{name}: test')
            row = dict(model=name, weights=weights, bank=len(bank.labels), images=len(asked.labels))
            for metric in metrics:
                metric.set_bank(bank)
                right = metric.scores(asked.features).argmax(1) == asked.labels
                row[metric.default_prefix] = 100 * right.double().mean().item()
            rows.append(row)
    print(show(rows))
    print('written:', *save_numbers(rows, args.out, 'knn'))


def show(rows: list[dict]) -> str:
    """Table of the scores, with the standard error of a share of so many images."""
    def cell(row: dict, name: str) -> str:
        share = row[name] / 100
        return f'{row[name]:.2f} +- {100 * math.sqrt(share * (1 - share) / row["images"]):.2f}'

    table = PrettyTable(['model', 'weights', 'k-NN top-1 (%)', 'linear probe top-1 (%)'], align='r')
    table.add_rows([[row['model'], row['weights'], cell(row, 'knn'), cell(row, 'linear')] for row in rows])
    first = rows[0]
    return (f'{table}\nLabels of {first["bank"]} images, scored on {first["images"]}; +- is the standard error of a '
            'share of so many images.')
