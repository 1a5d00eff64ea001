"""The weights that the authors released, as far as known: ``released.yml`` beside this file."""
from dataclasses import dataclass
from pathlib import Path

import yaml

STATISTICS = {'imagenet': '0.485 0.456 0.406 / 0.229 0.224 0.225', 'half': '0.5 0.5 0.5 / 0.5 0.5 0.5'}


@dataclass(frozen=True)
class Released:
    """A released file. What is not known is None.

    Attributes:
        name (str): Its name here.
        family (str): Family of :func:`mmwhitebox.checkpoints.convert_official`.
        arch (str): The model, in words.
        published (str): Where its authors published it.
        statistics (str): Mean and std of its images, a key of ``STATISTICS``.
        config (str, optional): Config of the same model here.
        licence (str, optional): Its licence.
        url (str, optional): Direct link.
        sha256 (str, optional): SHA-256 of the file.
        link (str): What was found when somebody last looked at the link.
    """
    name: str
    family: str
    arch: str
    published: str
    statistics: str
    config: str | None = None
    licence: str | None = None
    url: str | None = None
    sha256: str | None = None
    link: str = 'not looked'

    @property
    def suffix(self) -> str:
        """How the name of the file ends."""
        return '.npz' if self.family == 'crate-alpha-jax' else '.pth'


def released() -> dict[str, Released]:
    """All of them by name."""
    entries = yaml.safe_load(Path(__file__).with_name('released.yml').read_text())
    return {name: Released(name, **entry) for name, entry in entries.items()}
