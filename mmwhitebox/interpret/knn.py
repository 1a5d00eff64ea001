r"""k nearest neighbours: how well the features of a frozen model tell classes apart, without any training.

    s_i = cos(f, f_i) for every labelled f_i of the bank;   of the k largest s_i:
    score(class) = sum of exp(s_i / T) over those of the class, as a share of the sum over all k

k = 20 and T = 0.07, as in DINO's protocol. **reading**: a class without a neighbour has the score 0, and is none of the
best classes, however few have one.
"""
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBOURS, TEMPERATURE = 20, 0.07
SIMILARITIES = 2**26  # at a time: 256 MB


def knn_scores(features: Tensor, bank: Tensor, labels: Tensor, num_classes: int, k: int = NEIGHBOURS,
               temperature: float = TEMPERATURE) -> Tensor:
    """Class scores of images by their nearest neighbours.

    Args:
        features (Tensor): (B, D).
        bank (Tensor): Features whose labels are known, (n, D).
        labels (Tensor): Theirs, (n, ) int64, from 0 to ``num_classes`` - 1.
        num_classes (int): Number of classes.
        k (int): Neighbours, at most n. Defaults to 20.
        temperature (float): T, above 0. Defaults to 0.07.

    Returns:
        Tensor: (B, num_classes), each row sums to 1.
    """
    features, bank = normalize(features.float(), dim=1), normalize(bank.float(), dim=1)
    scores = features.new_zeros(len(features), num_classes)
    step = max(1, SIMILARITIES // len(bank))
    for rows, some in zip(scores.split(step), features.split(step)):
        similarity, nearest = (some @ bank.T).topk(k, dim=1)
        rows.scatter_add_(1, labels[nearest], (similarity / temperature).softmax(1))
    return scores
