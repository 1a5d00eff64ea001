"""The start of a patch embedding that is a convolution: that of the Linear layer which it is."""
from torch import nn

from mmwhitebox.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class PatchXavier:
    """Xavier-uniform weights of every convolution, seen as a map from whole patches to tokens (MAE).

    bound = sqrt(6 / (C P^2 + D)); mmengine's Xavier would count D P^2 outputs. Biases stay as they are.
    """

    def __call__(self, module: nn.Module) -> None:
        for conv in (child for child in module.modules() if isinstance(child, nn.Conv2d)):
            nn.init.xavier_uniform_(conv.weight.data.flatten(1))  # a view
