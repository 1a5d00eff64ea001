"""Hooks of the release before that are gone: a config that names one trains without it, and is told."""
import warnings

from mmengine.hooks import Hook

from mmwhitebox.registry import HOOKS


@HOOKS.register_module()
class OneDNNHook(Hook):
    """It chose oneDNN for float32 products on some CPUs, and slowed down others.

    Args:
        **kwargs: Its former arguments.
    """

    def __init__(self, **kwargs) -> None:
        warnings.warn('mmwhitebox.OneDNNHook does nothing any more: take it out of the config.', FutureWarning,
                      stacklevel=2)
