"""Our models in mmpretrain's hub: ``list_models('cbt_*')``, ``inference_model('cbt_tiny_imagenet', image)``."""
from mmpretrain.apis.model import ModelHub

from mmwhitebox.config.bases import config_folder


def register_models() -> None:
    """Enter the models of our metafiles, under the names of their configs. Called when the package is imported."""
    try:
        folder = config_folder()
    except FileNotFoundError:  # the package alone, without its configs
        return
    for metafile in sorted(folder.glob('*/metafile.yml')):
        ModelHub.register_model_index(metafile, config_prefix=folder.parent)


register_models()
