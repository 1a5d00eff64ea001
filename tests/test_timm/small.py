"""Models of every family, small, as timm builds them."""
import timm
import torch
from torch import nn

import mmwhitebox.timm  # noqa: F401

FAMILIES = ('cbt_tiny', 'crate_tiny', 'crate_alpha_base', 'crate_mae_tiny', 'crate_cbt_tiny', 'tost_tiny', 'dmst_tiny')
LATE = ('tost_tiny', 'dmst_tiny')  # their class token joins after the last layer
SMALL = dict(embed_dim=24, depth=2, num_heads=2, img_size=32, patch_size=8)


def small(name: str, **changes) -> nn.Module:
    """Two layers of width 24 for images of 32 x 32 and patches of 8 x 8, five classes; in evaluation mode."""
    args = {**SMALL, 'num_classes': 5, **changes}
    if name.startswith('crate_cbt') and 'arch' not in changes:
        args.setdefault('attention', [dict(type='MSSA'), dict(type='CBSA')])
    return timm.create_model(name, **args).eval()


def images(*shape: int) -> torch.Tensor:
    """Noise of a shape (B, C, H, W), the same every time."""
    return torch.randn(*shape or (2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
