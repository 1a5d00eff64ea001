"""A training of a second or less, with mmengine's own Runner: a linear model on eight fixed samples."""
import uuid
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmwhitebox.checkpoints import newest_checkpoint

MAX_ITERS = 8
SCORES = {2: 30., 3: 20., 4: 50., 6: 40., 8: 60.}  # of the validation after an iteration


class Samples(Dataset):
    metainfo = dict(classes=('a', 'b'))

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(8, 4, generator=generator)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return dict(inputs=self.inputs[index], label=self.inputs[index].sum())


class Linear(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)

    def forward(self, inputs, label, mode='tensor'):
        inputs, label = torch.stack(list(inputs)), torch.stack(list(label))
        out = self.layer(inputs)[:, 0]
        return dict(loss=(out - label).square().mean()) if mode == 'loss' else [out]


class Scores(BaseMetric):
    """The score that :data:`SCORES` has for the iteration."""
    runner = None
    default_prefix = ''

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(mIoU=SCORES[self.runner.iter])


class GiveRunner(Hook):
    def __init__(self, metric):
        self.metric = metric

    def before_train(self, runner):
        self.metric.runner = runner


def make_runner(work_dir, resume=None, val=False, max_iters=MAX_ITERS, by_epoch=False, **checkpoint) -> Runner:
    """A runner of ``max_iters`` iterations (epochs of four) with an AtomicCheckpointHook at every second one.

    ``checkpoint`` has further arguments of the hook.
    """
    metric = Scores()
    loader = dict(dataset=Samples(), batch_size=2, num_workers=0, collate_fn=dict(type='pseudo_collate'),
                  sampler=dict(type='DefaultSampler', shuffle=False))
    endless = {**loader, 'sampler': dict(type='InfiniteSampler', shuffle=False)}
    hook = dict(type='mmwhitebox.AtomicCheckpointHook', interval=1 if by_epoch else 2, by_epoch=by_epoch)
    return Runner(
        model=Linear(), work_dir=str(work_dir),
        train_dataloader=loader if by_epoch else endless,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, end=MAX_ITERS, by_epoch=False),
        train_cfg=dict(by_epoch=True, max_epochs=max_iters // 4, val_interval=1) if by_epoch else
        dict(by_epoch=False, max_iters=max_iters, val_interval=2),
        val_dataloader=loader if val else None, val_cfg=dict() if val else None,
        val_evaluator=[metric] if val else None,
        default_hooks=dict(checkpoint={**hook, **checkpoint}, logger=dict(type='LoggerHook', interval=2)),
        custom_hooks=[GiveRunner(metric)], randomness=dict(seed=0), default_scope='mmengine', log_level='WARNING',
        load_from=None if resume is None else str(resume), resume=resume is not None,
        experiment_name=uuid.uuid4().hex)


def continued(work_dir, **options) -> Runner:
    """A runner that resumes from the newest checkpoint as ``--resume`` does, or starts anew if there is none."""
    return make_runner(work_dir, resume=newest_checkpoint([work_dir])[0], **options)


def parameters(work_dir, name=f'iter_{MAX_ITERS}.pth'):
    return torch.load(Path(work_dir) / name, weights_only=False)['state_dict']


def files(work_dir):
    """Checkpoints and what may lie beside them; not the folders of logs."""
    return sorted(path.name for path in Path(work_dir).iterdir() if path.is_file())
