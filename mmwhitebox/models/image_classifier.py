"""mmpretrain's ImageClassifier with regularizers."""
from mmpretrain.models.classifiers import ImageClassifier as MMPretrainImageClassifier

from mmwhitebox.registry import MODELS

from .regularization import Regularized


@MODELS.register_module()
class ImageClassifier(Regularized, MMPretrainImageClassifier):
    """mmpretrain's ``ImageClassifier``, same arguments and parameters, with ``regularizers``.

    Args:
        *args: As in mmpretrain.
        regularizers (Sequence[dict]): Losses on what is inside, see :class:`.regularization.Regularized`. Defaults to
            none.
        **kwargs: As in mmpretrain.
    """
