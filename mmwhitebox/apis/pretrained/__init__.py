"""Models as folders: weights, config and card in one place, to keep, to share and to load without anything else."""
from .exporting import export_pretrained, export_work_dir
from .loading import from_pretrained
from .saving import save_pretrained
from .sharing import push_to_hub

__all__ = ['export_pretrained', 'export_work_dir', 'from_pretrained', 'push_to_hub', 'save_pretrained']
