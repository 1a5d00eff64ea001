"""The models of the page and what is asked of them; this runs in a process of its own."""
import copy
from collections.abc import Sequence
from pathlib import Path

from mmengine.model import BaseModel

from mmwhitebox.apis import init_model
from mmwhitebox.apis.explore import Exploration, explore
from mmwhitebox.apis.explorer_page import page
from mmwhitebox.apis.model_facts import describe_model
from mmwhitebox.config.reading import load_model_config
from mmwhitebox.errors import UserError
from mmwhitebox.models.optimization import optimize

from .ground_truth import GroundTruth
from .runs import Asked

MOST_SAMPLES = 500


class Models:
    """Models that are loaded one by one, and then answer, each as its equal for inference; its facts are its own.

    Args:
        sources (Sequence[tuple[str, str]]): Config and checkpoint of each.
        device (str, optional): 'cpu', 'cuda:0', ... Defaults to a GPU if there is one.
        trust_checkpoint (bool): See :func:`mmwhitebox.apis.init_model`. Defaults to False.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], device: str | None = None,
                 trust_checkpoint: bool = False) -> None:
        self.sources, self.device, self.trust_checkpoint = sources, device, trust_checkpoint
        self.loaded: dict[int, tuple[BaseModel, dict, GroundTruth]] = {}

    def load(self, number: int, listed: Sequence[str] = ()) -> dict:
        """Load a model.

        Args:
            number (int): Which.
            listed (Sequence[str]): Paths of images. Defaults to none.

        Returns:
            dict: ``facts``, as the API gives them; ``masks``, those of the listed paths, or of the samples, that have
            a mask; ``samples``, paths of the first images of its data; ``shown``, see :meth:`.images.Pictures.learn`.

        Raises:
            UserError: The config or the checkpoint cannot be read, or do not fit.
        """
        config, checkpoint = self.sources[number]
        model = init_model(load_model_config(config), checkpoint, self.device, trust_checkpoint=self.trust_checkpoint)
        truth, facts = GroundTruth(model.cfg, model.test_pipeline), describe_model(model)
        self.loaded[number] = optimize(model), facts, truth
        samples = truth.samples[:MOST_SAMPLES]
        masks = [path for path in (*listed, *samples) if truth.source(path)]
        return dict(facts=copy.deepcopy(facts), masks=masks, samples=samples,
                    shown=(model.dataset_meta or {}).get('shown'))

    def explore(self, asked: Asked) -> bytes:
        """What a model says of an image, in the container of :mod:`mmwhitebox.apis.array_container`.

        Raises:
            UserError: The image cannot be read, or a disturbance is none of the model.
        """
        return self.exploration(asked).to_bytes()

    def page(self, runs: Sequence[Asked]) -> bytes:
        """The page of several runs as one file."""
        return page([self.exploration(asked) for asked in runs]).encode()

    def exploration(self, asked: Asked) -> Exploration:
        """The same, as the object of the Python interface."""
        model, facts, truth = self.loaded[asked.model]
        notes, labels = [], None
        try:
            labels = truth.labels(asked.image) if isinstance(asked.image, str) else None
        except UserError as error:
            notes.append(f'There is no ground truth: {error}')
        try:
            found = explore(model, Path(asked.image) if isinstance(asked.image, str) else asked.image, asked.what_if,
                            labels, description=facts)
        except UserError as error:
            called = asked.image if isinstance(asked.image, str) else f'These {len(asked.image)} bytes'
            raise type(error)(str(error).replace(called, asked.name)) from error
        found.header['model']['id'] = str(asked.model)
        found.header['image'].update(id=asked.id, name=asked.name)
        found.header['notes'] += notes
        return found
