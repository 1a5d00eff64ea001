"""Channels: of the images that are loaded, of the steps on the way, and of the network."""
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import MODELS

from mmwhitebox.config_parts import make_part, model_part, pipelines, preprocessor_part
from mmwhitebox.datasets.transforms import LoadImage

from ..colour_steps import unfit


def channel_problems(cfg: Config, splits: tuple[str, ...]) -> Iterator[str]:
    """Images of another number of channels than the network takes, and steps that cannot work on them."""
    model = model_part(cfg)
    if model is None:
        return
    backbone = make_part(f'{model.path}.backbone', model.cfg.get('backbone'), MODELS)
    taken = backbone.argument('in_channels') if backbone is not None and backbone.known else None
    preprocessor = preprocessor_part(cfg, model)
    mean = preprocessor.cfg.get('mean') if preprocessor is not None and preprocessor.known else None
    for split in splits:
        steps = list(pipelines(cfg, split))
        loaders = [step for step in steps if step.cls is not None and issubclass(step.cls, LoadImage)]
        for loader in loaders:
            channels = loader.cfg.get('channels') or 3
            wide = loader.cfg.get('value_range') is not None
            if not all(step.known for step in steps):
                continue
            if isinstance(taken, int) and taken != channels:
                yield (f'{backbone.path}.in_channels={taken}, but {loader.path} loads {channels} channels: set '
                       'own_data.channels, or in_channels and the channels of mmwhitebox.LoadImage alike.')
            if isinstance(mean, (list, tuple)) and len(mean) not in (1, channels):
                yield (f'{preprocessor.path}.mean has {len(mean)} values, but {loader.path} loads {channels} channels: '
                       'give mean and std one for each.')
        if len(loaders) == 1:
            for step in steps:
                why = unfit(step, channels, wide)
                if why:
                    yield f'{step.name} {why}: take it out.'
