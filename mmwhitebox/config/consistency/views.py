"""The views that SimDINO compares, and the steps in which its teacher follows."""
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmpretrain.datasets import MultiView

from mmwhitebox.config_parts import get, listed, model_part, pipelines
from mmwhitebox.models.selfsup import SimDINO


def view_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """A pipeline of one view, batches image by image, a teacher that follows more often than the student moves."""
    model = model_part(cfg)
    if 'train' not in splits or model is None or not model.known or not issubclass(model.cls, SimDINO):
        return
    steps = list(pipelines(cfg, 'train'))
    multiview = [step for step in steps if step.cls is not None and issubclass(step.cls, MultiView)]
    views = [count for step in multiview for _, count in listed('', step.cfg.get('num_views', 1))]
    known = all(step.known for step in steps) and all(isinstance(count, int) for count in views)
    if known and sum(views) < 2:
        place = multiview[0].path if multiview else 'MultiView'
        yield (f'train_dataloader: the pipeline gives {sum(views) or 1} view of an image, but {model.name} compares '
               f'two at least: put its steps into {place}, with num_views=[1, 1].')
    collate = get(cfg, 'train_dataloader.collate_fn.type') or 'pseudo_collate'
    if steps and (FUNCTIONS.get(collate) if isinstance(collate, str) else collate) is pseudo_collate:
        yield (f"train_dataloader.collate_fn: {model.name} takes batches view by view: set "
               "collate_fn=dict(type='default_collate').")
    counts, interval = get(cfg, 'optim_wrapper.accumulative_counts') or 1, model.argument('update_interval')
    if counts != interval:
        yield (f'optim_wrapper.accumulative_counts={counts}, but {model.path}.update_interval={interval}: the teacher '
               f'follows after every step of the student, so set model.update_interval={counts}.')
