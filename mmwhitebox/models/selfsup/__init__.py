"""Learning without labels: the algorithms of mmpretrain's kind."""
from .crate_mae import CRATEMAE, CRATEMAEDecoder, CRATEMAEHead
from .simdino import SimDINO, SimDINONeck

__all__ = ['CRATEMAE', 'CRATEMAEDecoder', 'CRATEMAEHead', 'SimDINO', 'SimDINONeck']
