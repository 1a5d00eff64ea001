"""Hooks that are gone; a config that still names one trains without it for one release, with a warning."""
from mmengine.hooks import Hook

from mmwhitebox.former_names import warn_former
from mmwhitebox.registry import HOOKS

GONE = dict(OneDNNHook='float32 products on a CPU are those of torch')  # and why nothing is missing


def stand_in(name: str, reason: str) -> type[Hook]:
    """A hook of that name that takes any argument and does nothing."""
    def __init__(self, **options) -> None:
        warn_former(f'mmwhitebox.{name} does nothing any more: {reason}. Take it out of the config.')

    return type(name, (Hook, ), dict(__init__=__init__, __doc__=f'Does nothing any more: {reason}.'))


for _name, _reason in GONE.items():
    HOOKS.register_module(name=_name, module=stand_in(_name, _reason))
