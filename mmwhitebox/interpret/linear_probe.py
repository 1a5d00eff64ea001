r"""Linear probe: a linear classifier on the features of a frozen model.

**reading**: the features are those of the last output, standardised by mean and spread over the bank, without
augmentation; the classifier is the minimum of

    sum over the bank of the cross-entropy + penalty / 2 |W|^2

(biases are free), found from zero by L-BFGS over the whole bank. So it is the same whenever it is fitted; DINO's own
probe takes SGD over augmented images for 100 epochs.
"""
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

PENALTY, MAX_ITERATIONS = 1., 500
ROWS = 2**16  # of the bank at a time


class LinearProbe:
    """A classifier on features, fitted when it is made; nothing random is in it.

    Args:
        features (Tensor): Of the bank, (n, D).
        labels (Tensor): (n, ) int64, from 0 to ``num_classes`` - 1.
        num_classes (int): Number of classes.
        penalty (float): On the weights, not negative. Defaults to 1.
        max_iterations (int): Of L-BFGS. Defaults to 500.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, penalty: float = PENALTY,
                 max_iterations: int = MAX_ITERATIONS) -> None:
        exact = features.double()  # in float32 a large mean costs the spread its digits
        mean, spread = exact.mean(0), exact.std(0, correction=0)
        self.mean, self.spread = mean.float(), torch.where(spread > 0, spread, 1).float()
        features = features.float()
        weight, bias = features.new_zeros(num_classes, features.shape[1]), features.new_zeros(num_classes)
        self.weight, self.bias = weight.requires_grad_(), bias.requires_grad_()
        solver = torch.optim.LBFGS([self.weight, self.bias], max_iter=max_iterations, history_size=20,
                                   tolerance_grad=1e-6, tolerance_change=1e-9, line_search_fn='strong_wolfe')

        def loss() -> Tensor:
            solver.zero_grad()
            total = penalty / 2 * self.weight.square().sum() / len(features)
            total.backward()
            for some, truth in zip(features.split(ROWS), labels.split(ROWS)):
                part = cross_entropy(self.logits(some), truth, reduction='sum') / len(features)
                part.backward()
                total = total + part.detach()
            return total.detach()

        with torch.enable_grad():
            solver.step(loss)
        self.weight, self.bias = self.weight.detach(), self.bias.detach()

    def logits(self, features: Tensor) -> Tensor:
        """Scores of the classes before the softmax, (B, num_classes), of features (B, D)."""
        return (features.float() - self.mean) / self.spread @ self.weight.T + self.bias
