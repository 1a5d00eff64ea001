"""Looking inside a model while it trains: coding rates and pictures every n iterations."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmwhitebox.drawing import to_array
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.capture import Call, capture
from mmwhitebox.interpret.coding_rate import layer_rates
from mmwhitebox.interpret.map_grid import MapRow, draw_map_grid, layer_label
from mmwhitebox.interpret.membership import hard_assignment, has_membership, membership_maps
from mmwhitebox.interpret.patch_maps import Picture
from mmwhitebox.interpret.reconstruction import draw_reconstructions, reconstruction
from mmwhitebox.models.attention_layers import attention_layers, compression_layers
from mmwhitebox.models.selfsup import CRATEMAE
from mmwhitebox.registry import HOOKS

from ..runner_parts import bare_model


class CaptureHook(Hook, ABC):
    """Base of the hooks that read a training iteration's own forward pass; there is no second one.

    Forward hooks are attached for every ``interval``-th iteration alone, in the main process alone.

    Args:
        interval (int): Iterations between two looks. Defaults to 1000.
        num_images (int): Images looked at, the first ones of the batch.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1000, num_images: int = 4) -> None:
        self.interval = interval
        self.num_images = num_images
        self._attached = ExitStack()
        self._calls: dict[str, Call] | None = None

    @abstractmethod
    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Modules to record; empty if the model has nothing to look at."""

    @abstractmethod
    def look(self, runner: Runner, model: nn.Module, calls: dict[str, Call]) -> None:
        """Hand what the modules did to ``runner.visualizer``."""

    def before_train(self, runner: Runner) -> None:
        """Raise a UserError if the model has nothing to look at."""
        if not self.modules(bare_model(runner.model)):
            raise UserError(f'{type(self).__name__}: {self.needs} Take it out of custom_hooks.')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Attach the forward hooks, if this iteration is one to look at."""
        if self.every_n_train_iters(runner, self.interval) and is_main_process():
            self._calls = self._attached.enter_context(
                capture(self.modules(bare_model(runner.model)), self.num_images))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Remove the forward hooks and show what they saw."""
        self._attached.close()
        if self._calls is not None:
            calls, self._calls = self._calls, None
            with torch.no_grad():
                self.look(runner, bare_model(runner.model), calls)


@HOOKS.register_module()
class CodingRateHook(CaptureHook):
    """Coding rates and sparsity of every layer during training, to all visualisation backends.

    Scalars, means over the images: ``compression``, ``compression_normalized`` and ``expansion`` after the attention,
    ``compression_ffn`` and ``sparsity`` after the feed-forward, each as ``NAME/LAYER``. Definitions:
    :mod:`mmwhitebox.interpret.coding_rate`::

        custom_hooks = [dict(type='mmwhitebox.CodingRateHook', interval=1000)]

    Args:
        interval (int): Iterations between two looks. Defaults to 1000.
        num_images (int): Images looked at, the first ones of the batch. Defaults to 4.

    Raises:
        UserError: The model has no attention that compresses its tokens in learned subspaces.
    """

    needs = 'this model has no attention that compresses its tokens in learned subspaces.'
    scalars = {
        'compression': ('attention', 'compression'),
        'compression_normalized': ('attention', 'compression_normalized'),
        'expansion': ('attention', 'expansion'),
        'compression_ffn': ('feedforward', 'compression'),
        'sparsity': ('feedforward', 'sparsity'),
    }

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        return {name: module for layer in compression_layers(model) for name, module in layer.modules.items()}

    def look(self, runner: Runner, model: nn.Module, calls: dict[str, Call]) -> None:
        scalars = {}
        for layer in compression_layers(model):
            rates = layer_rates(layer, calls)
            for name, (stage, quantity) in self.scalars.items():
                if quantity in rates.get(stage, {}):
                    scalars[f'{name}/{layer.name}'] = rates[stage][quantity].mean().item()
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)


@HOOKS.register_module()
class MembershipVisHook(CaptureHook):
    """Pictures of the membership of the tokens in the heads (TSSA, DMSA) during training, to all backends.

    One picture ``membership_I`` for image I: a row for each layer, Pi of each head and the strongest head, see
    :mod:`mmwhitebox.interpret.membership`::

        custom_hooks = [dict(type='mmwhitebox.MembershipVisHook', interval=1000)]

    Args:
        interval (int): Iterations between two looks. Defaults to 1000.
        num_images (int): Images looked at, the first ones of the batch. Defaults to 1.
        layers (Sequence[int], optional): Layers among those with a membership; negative numbers count from the
            last. Defaults to None: four, evenly spaced, with the first and the last.

    Raises:
        UserError: The model has no such attention, or fewer layers.
    """

    needs = 'this model has no membership of tokens in subspaces (attention TSSA or DMSA).'

    def __init__(self, interval: int = 1000, num_images: int = 1, layers: Sequence[int] | None = None) -> None:
        super().__init__(interval, num_images)
        self.layers = layers

    def attentions(self, model: nn.Module) -> dict[str, nn.Module]:
        """The layers to show, name -> module."""
        found = {name: layer for name, layer in attention_layers(model).items() if has_membership(layer)}
        names, count = list(found), len(found)
        chosen = self.layers
        if chosen is None:
            chosen = sorted({round(i * (count - 1) / 3) for i in range(4)}) if found else ()
        elif not all(-count <= i < count for i in chosen):
            raise UserError(f'MembershipVisHook: layers={list(chosen)}, but the model has {count} such layers.')
        return {names[i]: found[names[i]] for i in chosen}

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        found = self.attentions(model)
        if found:
            found['backbone'] = model.get_submodule('backbone')
        return found

    def look(self, runner: Runner, model: nn.Module, calls: dict[str, Call]) -> None:
        attentions = self.attentions(model)
        images = calls['backbone'].args[0]
        maps = {name: membership_maps(attention, calls[name].args) for name, attention in attentions.items()}
        heads = max(values.shape[1] for values in maps.values())
        for i in range(len(images)):
            picture = Picture(model, images[i:i + 1], images.shape[-2:],
                              (runner.visualizer.dataset_meta or {}).get('shown'))
            rows = [MapRow(layer_label(name), picture.place(values[i]), picture.place(hard_assignment(values)[i]))
                    for name, values in maps.items()]
            figure = draw_map_grid(
                picture.image, rows, [f'head {head}' for head in range(heads)],
                f'Membership of the tokens, iteration {runner.iter + 1}', 'membership Π', shared_scale=True,
                label_title='strongest head', note=picture.note)
            runner.visualizer.add_image(f'membership_{i}', to_array(figure), step=runner.iter + 1)


@HOOKS.register_module()
class ReconstructionVisHook(CaptureHook):
    """Pictures of what a masked autoencoder (CRATE-MAE) makes of training images, to all visualisation backends.

    One picture ``reconstruction``: a row for each image, the image, what was shown, the reconstruction, see
    :mod:`mmwhitebox.interpret.reconstruction`::

        custom_hooks = [dict(type='mmwhitebox.ReconstructionVisHook', interval=1000)]

    Args:
        interval (int): Iterations between two looks. Defaults to 1000.
        num_images (int): Images looked at, the first ones of the batch. Defaults to 4.

    Raises:
        UserError: The model is no CRATEMAE.
    """

    needs = 'this model is no masked autoencoder (CRATEMAE).'

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        return {name: model.get_submodule(name) for name in ('backbone', 'neck')} if isinstance(model, CRATEMAE) else {}

    def look(self, runner: Runner, model: nn.Module, calls: dict[str, Call]) -> None:
        images, masks, _ = calls['backbone'].args
        found = [reconstruction(model, *(part[i:i + 1] for part in (images, masks, calls['neck'].output)))
                 for i in range(len(images))]
        figure = draw_reconstructions(found, title=f'Iteration {runner.iter + 1}')
        runner.visualizer.add_image('reconstruction', to_array(figure), step=runner.iter + 1)
