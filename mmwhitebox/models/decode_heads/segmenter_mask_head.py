"""Segmenter's mask transformer as its authors start it."""
from mmseg.models.decode_heads import SegmenterMaskTransformerHead as MMSegSegmenterHead
from torch import nn

from mmwhitebox.registry import MODELS


@MODELS.register_module()
class SegmenterMaskTransformerHead(MMSegSegmenterHead):
    """mmseg's head, parameters and arguments the same, with the initialisation of the published code.

    mmseg leaves the joint projection to queries, keys and values at xavier-uniform (torch's ``MultiheadAttention``) and
    starts the two last projections at a standard deviation of 0.02. Published: 0.02 (truncated normal, bias 0) for
    every Linear, that projection included, and D^-1/2 (normal) for the two last.
    """

    def init_weights(self) -> None:
        """Initialise all parameters."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=self.init_std)
                nn.init.zeros_(module.in_proj_bias)
        for projection in (self.patch_proj, self.classes_proj):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
