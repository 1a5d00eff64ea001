r"""SimDINO: a student agrees with its own moving average across crops, and a coding rate keeps it from collapsing.

    z = head(encoder(crop)), rows of unit length;   s: the student's of all V crops,  t: the teacher's of 2 global ones
    loss = -coeff * mean_{i != j} <t_i, s_j> - gamma * mean over global crops of 1/2 logdet(I + p / (m N eps) S^T S)
    teacher <- mu teacher + (1 - mu) student,   mu from 0.996 to 1 by half a cosine

DINO without prototypes, centring and temperatures (arXiv 2502.10385); the loss is
:class:`mmwhitebox.models.rate_reduction.SimDINOLoss`.
"""
from collections import OrderedDict
from itertools import groupby

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.models.utils import CosineEMA
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import MLP

from mmwhitebox.errors import ConfigError, UserError
from mmwhitebox.models.layers import TRUNC_NORMAL
from mmwhitebox.models.sizes import check_sizes
from mmwhitebox.registry import MODELS

NUM_GLOBAL = 2
COLLATE = "train_dataloader.collate_fn=dict(type='default_collate')"


class Teacher(CosineEMA):
    """mmpretrain's moving average by half a cosine, without dropout and stochastic depth.

    The cosine is that of the running training's iterations, also when it starts from the teacher of another one.
    Batch norm is the teacher's own: it normalises by the statistics of its batch and keeps a running average of them,
    where the other moving averages of the stack take over the student's, whose weights are others.
    """

    def train(self, mode: bool = True) -> 'Teacher':
        """Set the mode of batch norm, but for that of frozen parts; the rest stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if not isinstance(module, _BatchNorm):
                module.training = False
        return self

    def update_parameters(self, model: nn.Module) -> None:
        """Follow the student by a step; the first one makes the teacher its copy."""
        own = [] if self.steps == 0 else [buffer.clone() for buffer in self.module.buffers()]
        super().update_parameters(model)
        for buffer, value in zip(self.module.buffers(), own):
            buffer.copy_(value)

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move a parameter of the teacher towards the student's."""
        super().avg_func(averaged_param, source_param, MessageHub.get_current_instance().get_info('iter'))


@MODELS.register_module()
class SimDINONeck(BaseModule):
    """The head of student and teacher: Linear layers with GELU between them.

    Args:
        in_channels (int): Width of the encoder's features.
        hidden_channels (int): Width between the layers. Defaults to 2048.
        out_channels (int): Width p of what is compared. Defaults to 256.
        num_layers (int): Linear layers. Defaults to 3.
        init_cfg (dict): Defaults to normal weights of standard deviation 0.02, truncated.

    Raises:
        ValueError: A size that is no positive integer.
    """

    def __init__(self,
                 in_channels: int,
                 hidden_channels: int = 2048,
                 out_channels: int = 256,
                 num_layers: int = 3,
                 init_cfg: dict = TRUNC_NORMAL) -> None:
        super().__init__(init_cfg)
        check_sizes(self, in_channels=in_channels, hidden_channels=hidden_channels, out_channels=out_channels,
                    num_layers=num_layers)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.mlp = MLP(in_channels, [hidden_channels] * (num_layers - 1) + [out_channels], activation_layer=nn.GELU)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """(B, p), not of unit length yet.

        Args:
            feats (tuple[Tensor]): An encoder's outputs, of which the last counts: class tokens or pooled features,
                (B, D), or maps, (B, D, H, W), which are averaged.

        Raises:
            ConfigError: Other features.
        """
        x = feats[-1]
        if not isinstance(x, Tensor) or x.ndim not in (2, 4) or x.shape[1] != self.in_channels:
            shape = f'of shape {tuple(x.shape)}' if isinstance(x, Tensor) else f'of type {type(x).__name__}'
            raise ConfigError(f'model.backbone gives features {shape}; SimDINO takes (B, {self.in_channels}) or '
                              f"(B, {self.in_channels}, H, W): out_type='cls_token', 'avg_featmap' or 'featmap'.")
        return self.mlp(x if x.ndim == 2 else x.mean((2, 3)))


@MODELS.register_module()
class SimDINO(BaseSelfSupervisor):
    """Learning without labels from crops of several sizes.

    A config names the encoder; the head has its width::

        model = dict(type='mmwhitebox.SimDINO',
                     backbone=dict(type='mmwhitebox.WhiteBoxTransformer', arch='crate-base', drop_path_rate=0.1))

    Images come as lists of crops from mmpretrain's ``MultiView`` and ``collate_fn=dict(type='default_collate')``: two
    global ones of one size first, then any number of others. Crops of one size that follow each other go through the
    encoder in one batch; encoders of this toolbox fit their positions to each size.

    The teacher is what is used afterwards (**reading**: the published code evaluates it): :meth:`extract_feat` is its
    encoder, and ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='teacher.module.backbone')`` takes it over
    as the backbone of a classifier or a segmentor. The student's keys begin with ``backbone.``.

    The teacher follows at the beginning of an iteration, along a cosine over all iterations of the training.

    Args:
        backbone (dict): An encoder of mmwhitebox, mmpretrain or mmseg.
        neck (dict, optional): Defaults to :class:`SimDINONeck`. ``in_channels`` defaults to the encoder's
            ``embed_dims``.
        head (dict, optional): The loss. Defaults to :class:`mmwhitebox.models.rate_reduction.SimDINOLoss`.
        momentum (float): mu at the beginning, which the teacher keeps of itself. Defaults to 0.996.
        update_interval (int): Iterations between two updates of the teacher: with gradient accumulation,
            ``optim_wrapper.accumulative_counts``. Defaults to 1.
        data_preprocessor (dict, optional): Defaults to mmpretrain's ``SelfSupDataPreprocessor``.
        init_cfg (dict, optional): mmengine's initialisation config. Defaults to None: of each part its own.

    Raises:
        ConfigError: An encoder whose features are all tokens, a head of another width, a ``momentum`` outside (0, 1);
            at the first batch, features of another shape, or other images than two global crops and more.
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict | None = None,
                 head: dict | None = None,
                 momentum: float = 0.996,
                 update_interval: int = 1,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        if not isinstance(momentum, (int, float)) or not 0 < momentum < 1:
            raise ConfigError(f'model.momentum={momentum!r} is what the teacher keeps of itself, between 0 and 1: the '
                              'published value is 0.996.')
        check_sizes(self, update_interval=update_interval)
        encoder = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        projector = self._build_neck(encoder, neck or {})
        head = MODELS.build({'type': 'mmwhitebox.SimDINOLoss', **(head or {})})
        super().__init__(encoder, projector, head, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.teacher = Teacher(self.student, momentum=1 - momentum, interval=update_interval)

    @staticmethod
    def _build_neck(encoder: nn.Module, neck: dict) -> nn.Module:
        name, dims = type(encoder).__name__, getattr(encoder, 'embed_dims', None)
        if getattr(encoder, 'out_type', None) == 'raw':
            raise ConfigError(f"model.backbone.out_type='raw': SimDINO compares one feature of each crop, not all "
                              f"tokens of {name}: take 'cls_token', 'avg_featmap' or 'featmap'.")
        if not isinstance(dims, int) and 'in_channels' not in neck:
            raise ConfigError(f'model.backbone ({name}) does not tell the width of its features: set '
                              'model.neck.in_channels.')
        given = neck.get('in_channels', dims)
        if isinstance(dims, int) and given != dims:
            raise ConfigError(f'model.neck.in_channels={given}, but model.backbone has features of {dims}: leave it '
                              'out.')
        return MODELS.build({'type': 'mmwhitebox.SimDINONeck', **neck, 'in_channels': given})

    @property
    def student(self) -> nn.Sequential:
        """Encoder and head."""
        return nn.Sequential(OrderedDict(backbone=self.backbone, neck=self.neck))

    def init_weights(self) -> None:
        """Initialise the student; the teacher becomes its copy."""
        super().init_weights()
        self.teacher.module.load_state_dict(self.student.state_dict())

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the teacher's encoder.

        Args:
            inputs (Tensor): Normalised images, (B, C, height, width).
        """
        return self.teacher.module.backbone(inputs)

    def forward(self, inputs: Tensor | list[Tensor], data_samples: list | None = None,
                mode: str = 'tensor') -> tuple | dict:
        """mmpretrain's modes 'tensor' (:meth:`extract_feat`) and 'loss'.

        Raises:
            UserError: ``mode='predict'``: there are no classes to predict.
        """
        if mode == 'predict':
            raise UserError("SimDINO has learned no classes, so it predicts none: train a classifier or segmentor "
                            "whose backbone has init_cfg=dict(type='Pretrained', checkpoint=..., "
                            "prefix='teacher.module.backbone').")
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: list[Tensor], data_samples: list | None = None) -> dict[str, Tensor]:
        """The loss of a batch, after the teacher has followed the student.

        Args:
            inputs (list[Tensor]): V views of the same images, normalised, (B, C, height, width) each; the first two
                are global.
            data_samples (list, optional): Not used: no label is.

        Returns:
            dict[str, Tensor]: ``loss``, and without gradient ``compression`` and ``expansion``.
        """
        self._check_views(inputs)
        with torch.no_grad():
            self.teacher.update_parameters(self.student)
            teacher = self.teacher(torch.cat(inputs[:NUM_GLOBAL])).unflatten(0, (NUM_GLOBAL, -1))
        batches = [torch.cat(list(views)) for _, views in groupby(inputs, key=lambda view: view.shape[2:])]
        student = torch.cat([self.neck(self.backbone(batch)) for batch in batches]).unflatten(0, (len(inputs), -1))
        return self.head(student, teacher)

    def _check_views(self, inputs: list[Tensor]) -> None:
        if not isinstance(inputs, list) or len(inputs) < NUM_GLOBAL:
            found = len(inputs) if isinstance(inputs, list) else 1
            raise ConfigError(f'SimDINO compares views of an image, two at least, and the training pipeline gives '
                              f'{found}: put its steps into MultiView, and set {COLLATE}.')
        if inputs[0].shape != inputs[1].shape:
            sizes = ' and '.join('x'.join(map(str, view.shape[2:])) for view in inputs[:NUM_GLOBAL])
            raise ConfigError(f'The first two views of SimDINO are global and of one size, the training pipeline gives '
                              f'{sizes}.')
        hub = MessageHub.get_current_instance()
        if hub.get_info('iter') is None or hub.get_info('max_iters') is None:
            raise UserError('SimDINO takes the place on its cosine from the running training. In a loop of your own: '
                            "MessageHub.get_current_instance().update_info_dict(dict(iter=..., max_iters=...)).")
