r"""Losses of rate reduction on features of unit length (MCR2; SimDINO, arXiv 2502.10385).

    MCR2:     -(R(Z) - sum_j n_j / n R(Z_j))
    SimDINO:  -coeff * mean_{i != j} <t_i, s_j> - gamma * mean_v 1/2 logdet(I + p / (m N eps) S_v^T S_v)
              gamma = (p + N m) / (p N m)

S_v: m features of p dimensions of the global view v, on each of N processes; t: teacher, s: student. In distributed
training the Gram matrices are summed over the processes. Their gradients are made for the average that distributed
training takes over the processes: it is then the gradient of the loss of the joint batch.
"""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size, is_distributed
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce as differentiable_all_reduce

from mmwhitebox.errors import ConfigError
from mmwhitebox.ops.coding_rate import gram_rate
from mmwhitebox.registry import MODELS

from .regularization import Regularizer, check_weight


def unit_rows(z: Tensor) -> Tensor:
    """Rows of unit length in float32 or wider; zero rows stay zero."""
    return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=-1)


def over_processes(gram: Tensor, reduce: bool = True) -> Tensor:
    """The sum over all processes, with its gradient."""
    return differentiable_all_reduce(gram) if reduce and is_distributed() else gram


@MODELS.register_module()
class RateReductionLoss(nn.Module, Regularizer):
    """MCR2 of labelled features, over all processes.

    As a regularizer of a classifier (``model = dict(regularizers=[dict(type='mmwhitebox.RateReductionLoss')])``) it is
    on the features that the head takes, beside the head's own loss; in the log it is ``mcr2.loss``. The head
    predicts as before.

    Args:
        eps_squared (float): eps^2, the precision of the code. Defaults to 0.01.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Raises:
        ConfigError: A negative weight. As a regularizer: of a segmentor, of images with several labels or with mixed
            ones (mixup, cutmix).
    """

    log_name = 'mcr2'

    def __init__(self, eps_squared: float = 0.01, loss_weight: float = 1.) -> None:
        super().__init__()
        self.eps_squared = eps_squared
        self.loss_weight = check_weight('RateReductionLoss: loss_weight', loss_weight)

    def watch(self, model: nn.Module) -> dict[str, nn.Module]:
        if not isinstance(getattr(model, 'head', None), ClsHead):
            raise ConfigError('RateReductionLoss: as a regularizer it takes the features and labels of a classifier '
                              f"with one label an image, not of {type(model).__name__} with "
                              f"{type(getattr(model, 'head', getattr(model, 'decode_head', None))).__name__}.")
        if getattr(model.data_preprocessor, 'batch_augments', None) is not None:
            raise ConfigError('RateReductionLoss: mixed images (model.train_cfg.augments) have no class: leave mixup '
                              'and cutmix out with train_cfg=None.')
        return dict(features=model.get_submodule('backbone' if model.neck is None else 'neck'))

    def losses(self, outputs: Mapping[str, Any], data_samples: Sequence) -> dict[str, Tensor]:
        features = outputs['features']
        labels = torch.cat([sample.gt_label for sample in data_samples])
        return dict(loss=self(features[-1] if isinstance(features, (tuple, list)) else features, labels))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss of features (n, p), scaled to unit length, and labels (n, ); those below 0 do not count."""
        with torch.autocast(features.device.type, enabled=False):
            z, labels = unit_rows(features)[labels >= 0], labels[labels >= 0]
            top = labels.max() if len(labels) else labels.new_zeros(())
            all_reduce(top, 'max')
            members = F.one_hot(labels, int(top) + 1).to(z)
            counts = members.sum(0)
            all_reduce(counts)
            present = counts > 0
            members, counts = members[:, present], counts[present]
            grams = over_processes(torch.einsum('nj,np,nq->jpq', members, z, z))
            n, p = counts.sum().clamp(min=1), z.shape[1]
            scales = p / (counts * self.eps_squared)
            whole = gram_rate(grams.sum(0), p / (n * self.eps_squared))
            parts = gram_rate(grams, scales[:, None, None])
            return -self.loss_weight * (whole - (counts / n * parts).sum())


@MODELS.register_module()
class SimDINOLoss(nn.Module):
    """Compression and expansion of the views of a batch.

    Args:
        coeff (float): Factor of the compression. Defaults to 1.
        eps (float): Precision of the code; not squared. Defaults to 0.05.
        reduce_cov (bool): Sum the covariance over the processes. Defaults to True.
        smooth (bool): Take the expansion of the mean of the student's and the teacher's features, which the published
            code advises when the loss has spikes. Defaults to False: of the student's.
    """

    def __init__(self, coeff: float = 1., eps: float = 0.05, reduce_cov: bool = True, smooth: bool = False) -> None:
        super().__init__()
        self.coeff, self.eps, self.reduce_cov, self.smooth = coeff, eps, reduce_cov, smooth

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Loss of student (V, B, p), the first two global, and teacher (2, B, p), scaled to unit length.

        Returns:
            dict[str, Tensor]: ``loss``, and without gradient ``compression`` and ``expansion``.
        """
        with torch.autocast(student.device.type, enabled=False):
            s, t = unit_rows(student), unit_rows(teacher.detach())
            cosines = torch.einsum('ibp,jbp->ij', t, s) / s.shape[1]
            other = ~torch.eye(len(t), len(s), dtype=torch.bool, device=s.device)
            compression = cosines[other].mean()
            m, p = s.shape[1:]
            total = m * (get_world_size() if self.reduce_cov else 1)
            views = (s[:len(t)] + t) / 2 if self.smooth else s[:len(t)]
            rates = gram_rate(over_processes(views.mT @ views, self.reduce_cov), p / (total * self.eps))
            expansion = (p + total) / (p * total) * rates.mean()
            return dict(loss=-self.coeff * compression - expansion, compression=compression.detach(),
                        expansion=expansion.detach())
