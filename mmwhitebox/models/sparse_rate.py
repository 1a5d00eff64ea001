r"""Sparse rate reduction as a regularizer (SRR; NeurIPS 2024, arXiv 2411.17182): what white-box layers are steps of.

    loss = mu / n * sum over layers of  R_c(Z; U) - R(Z) + lambda ||Z||_1

    R_c(Z; U) = sum_k R(norm(Z) U_k)      compression: what attention lowers
    R(Z)                                  expansion: all D dimensions of the tokens

Z: the n tokens of an image as a layer leaves them, U_k and norm: the layer's own. The mean over the images of a batch.

**reading**: Z, norm and U are those of ``mmwhitebox measure coding_rate`` after the feed-forward (after the attention
where there is none), so the terms are the ones that it shows, over n. ||Z||_1, which stands for ||Z||_0, is that of
layers that end with the relu of ISTA; the tokens of other layers are not sparse and have no such term.
"""
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmwhitebox.errors import ConfigError, joined
from mmwhitebox.ops.coding_rate import coding_rate
from mmwhitebox.registry import MODELS

from .attention_layers import CompressionLayer, attention_layers, compression_layers
from .regularization import Regularizer, check_precision, check_weight


@MODELS.register_module()
class SparseRateRegularizer(Regularizer):
    """SRR of chosen layers of a segmentor or classifier, in a config::

        model = dict(regularizers=[dict(type='mmwhitebox.SparseRateRegularizer', weight=1e-3)])

    In the log: ``srr.loss``, and its terms over the layers, per token: ``srr.compression``, ``srr.expansion``,
    ``srr.sparsity`` (if a layer has it; without lambda).

    Args:
        weight (float): mu. With 0 the terms are logged and nothing is trained by them.
        layers (int | Sequence[int], optional): Numbers of the layers, as in the figures and ``--layers`` of
            ``mmwhitebox measure coding_rate``: all attention layers of the model are counted, from 0; negative
            numbers count from the last. Defaults to None: all that have subspaces.
        lam (float): lambda. Defaults to 0.1.
        eps_squared (float): eps^2, the precision of the code. Defaults to 0.01.

    Raises:
        ConfigError: A negative weight or lambda, an ``eps_squared`` that is not positive, a number of no layer, or of
            a layer without subspaces; a model without any.
    """

    log_name = 'srr'

    def __init__(self, weight: float, layers: int | Sequence[int] | None = None, lam: float = 0.1,
                 eps_squared: float = 0.01) -> None:
        self.weight = check_weight('SparseRateRegularizer: weight', weight)
        self.lam = check_weight('SparseRateRegularizer: lam', lam)
        self.eps_squared = check_precision('SparseRateRegularizer: eps_squared', eps_squared)
        self.numbers = [layers] if isinstance(layers, int) else layers
        if self.numbers is not None and not (isinstance(self.numbers, (list, tuple)) and
                                             all(type(number) is int for number in self.numbers)):
            raise ConfigError(f'SparseRateRegularizer: layers={layers!r}: give the number of a layer, a list of them, '
                              'or None for all.')
        self.layers: list[CompressionLayer] = []

    def watch(self, model: nn.Module) -> dict[str, nn.Module]:
        names, with_subspaces = list(attention_layers(model)), {x.name: x for x in compression_layers(model)}
        if not with_subspaces:
            kinds = sorted({type(layer).__name__ for layer in attention_layers(model).values()})
            raise ConfigError('SparseRateRegularizer: no layer of this model compresses in subspaces (its attention: '
                              f'{joined(kinds) or "none"}). Leave the regularizer out, or take a white-box attention '
                              'such as MSSA or CBSA.')
        numbers = range(len(names)) if self.numbers is None else self.numbers
        known = [i for i, name in enumerate(names) if name in with_subspaces]
        wrong = [i for i in numbers if not -len(names) <= i < len(names) or i % len(names) not in known]
        if self.numbers is not None and (wrong or not self.numbers):
            raise ConfigError(f'SparseRateRegularizer: layers={self.numbers}: {joined(wrong, 3) or "nothing"} names no '
                              f'layer with subspaces. These have them: {joined(known, len(known))}.')
        chosen = {i % len(names) for i in numbers} & set(known)
        self.layers = [with_subspaces[names[i]] for i in sorted(chosen)]
        return {layer.name: layer.layer for layer in self.layers}

    def losses(self, outputs: Mapping[str, Tensor], data_samples: Sequence) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        with torch.set_grad_enabled(self.weight > 0):
            for layer in self.layers:
                for name, value in self.terms(layer, outputs[layer.name]).items():
                    terms[name] = terms[name] + value if name in terms else value
            total = terms['compression'] - terms['expansion'] + self.lam * terms.get('sparsity', 0)
        logged = {name: value.detach() for name, value in terms.items()}
        return dict(loss=self.weight * total, **logged) if self.weight else logged

    def terms(self, layer: CompressionLayer, z: Tensor) -> dict[str, Tensor]:
        """The terms of one layer per token, means over the images.

        Args:
            layer (CompressionLayer): The layer.
            z (Tensor): The tokens that leave it, (B, N, D).
        """
        n = z.shape[1]
        terms = dict(compression=coding_rate(layer.project(z), self.eps_squared).sum(1).mean() / n,
                     expansion=coding_rate(z, self.eps_squared).mean() / n)
        if layer.is_sparse:
            terms['sparsity'] = z.to(torch.promote_types(z.dtype, torch.float32)).sum((1, 2)).mean() / n
        return terms
