"""Learning without labels: the algorithms of mmpretrain's kind."""
from .crate_mae import CRATEMAE, CRATEMAEDecoder, CRATEMAEHead

__all__ = ['CRATEMAE', 'CRATEMAEDecoder', 'CRATEMAEHead']
