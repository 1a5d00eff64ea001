"""Which configs are compared, and what the papers report for them."""
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent


class Row(NamedTuple):
    """One config of a comparison.

    Attributes:
        name (str): Its config, ``configs/<suite>/<name>.py``.
        title (str): What it is called in a table.
        paper (float, optional): The paper's number for it, in percent. Defaults to None.
        seeds (tuple[int, ...]): One training for each. Defaults to (0, 1, 2).
    """

    name: str
    title: str
    paper: float | None = None
    seeds: tuple[int, ...] = (0, 1, 2)


class Suite(NamedTuple):
    """Trainings that share data, budget and metric.

    Attributes:
        name (str): Also the name of its folders of configs, runs and logs.
        metric (str): The validation value that ranks the rows.
        tables (dict[str, tuple[Row, ...]]): Rows of each table; a config may stand in several.
        quick (tuple[str, ...]): ``--cfg-options`` of the toy length.
    """

    name: str
    metric: str
    tables: dict[str, tuple[Row, ...]]
    quick: tuple[str, ...]

    def rows(self) -> tuple[Row, ...]:
        """Every config once, in the order of the tables."""
        return tuple({row.name: row for rows in self.tables.values() for row in rows}.values())

    def config(self, row: Row) -> str:
        """The config of a row, relative to the repository."""
        return f'projects/small_data/configs/{self.name}/{row.name}.py'


SUITES = {
    suite.name: suite for suite in (
        Suite(
            name='camvid',
            metric='mIoU',
            tables=dict(
                decoders=(Row('cbt', 'CBT'), Row('depict_sa', 'DEPICT-SA'), Row('depict_ca', 'DEPICT-CA'),
                          Row('segmenter_mask', 'Segmenter, mask'), Row('segmenter_linear', 'Segmenter, linear')),
                best=(Row('cbt_best', 'CBT, best recipe', seeds=(0, )),
                      Row('cbt_whole_images', 'CBT, whole images', seeds=(0, )))),
            quick=('train_cfg.max_iters=8', 'train_cfg.val_interval=8', 'default_hooks.logger.interval=4',
                   'train_dataloader.batch_size=2', 'val_dataloader.dataset.indices=8',
                   'test_dataloader.dataset.indices=8')),
        Suite(
            name='cifar10',
            metric='accuracy/top1',
            tables=dict(
                attentions=(Row('tssa', 'TSSA', 61.59), Row('tpusa', 'TPUSA', 62.40), Row('dmsa', 'DMSA', 62.62),
                            Row('tpsusa', 'TPSUSA', 63.13)),
                gates=(Row('gate_sigmoid', 'sigmoid', 60.92), Row('gate_relu', 'ReLU', 61.27),
                       Row('gate_gelu', 'GELU', 61.11), Row('dmsa', 'ST', 61.30)),
                operators=(Row('mhsa', 'MHSA'), Row('mssa', 'MSSA'), Row('agent', 'Agent'), Row('cbsa', 'CBSA'),
                           Row('tssa', 'TSSA', 61.59), Row('dmsa', 'DMSA', 62.62)),
                best=tuple(Row(f'{title.lower()}_best', f'{title}, best', seeds=(0, ))
                           for title in ('MHSA', 'MSSA', 'Agent', 'CBSA', 'TSSA', 'TPUSA', 'DMSA', 'TPSUSA'))),
            quick=('train_cfg.max_iters=8', 'train_cfg.val_interval=8', 'default_hooks.logger.interval=4',
                   'train_dataloader.batch_size=16', 'val_dataloader.dataset.indices=200',
                   'test_dataloader.dataset.indices=200')))
}
