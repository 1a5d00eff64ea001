"""Cases of deployment: one trained model as PyTorch, ONNX and OpenVINO run it, with what each scores and weighs."""
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmwhitebox.apis import ExportedModel, export_int8, export_model, init_model, load_exported
from mmwhitebox.apis.export import LogitsNetwork, default_size, substitute
from mmwhitebox.apis.scoring import evaluation_loader, evaluator_of, main_score, scores_of
from mmwhitebox.config.reading import load_model_config
from mmwhitebox.errors import UserError

from .agreement import Disagreement, relative_error
from .cases import Case, Contestant, Settings, Unable

FORMS = ('eager', 'compiled', 'onnx', 'onnx-int8', 'openvino', 'openvino-int8')
TOLERANCE = 1e-4  # relative, in the 2-norm, of the logits of float32 forms


class Runs(nn.Module):
    """A function of images as a module without weights."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)


def openvino_of(path: Path) -> Callable[[Tensor], Tensor]:
    """A function of images that OpenVINO runs, of an ONNX file.

    Raises:
        Unable: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise Unable('openvino is not installed') from error
    core = openvino.Core()
    network = core.compile_model(core.read_model(path), 'CPU', {
        'INFERENCE_NUM_THREADS': torch.get_num_threads(), 'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda images: torch.from_numpy(network([images.numpy()])[0])


class Deployed:
    """A trained model and its files.

    Args:
        config (str): Its config, with training and test data.
        checkpoint (str): Its weights.
        out (Path): Folder for the files.
    """

    def __init__(self, config: str, checkpoint: str, out: Path) -> None:
        self.cfg: Config = load_model_config(config, None)
        self.checkpoint = checkpoint
        self.stem = out / Path(config).stem
        self.loader, self.evaluator = evaluation_loader(self.cfg), evaluator_of(self.cfg)
        self.channels = self.cfg.model.backbone.get('in_channels', 3)
        segments = 'decode_head' in self.cfg.model
        head = self.cfg.model.decode_head if segments else self.cfg.model.head
        self.card = dict(  # of PyTorch itself: any size
            task='segmentation' if segments else 'classification', classes=range(head.num_classes), input_size=None,
            size_multiple_of=(1, 1), batch_size=None, dynamic=True, mean=[0.] * self.channels)
        self.written: set[Path] = set()

    def file(self, dtype: str) -> Path:
        """An ONNX file for any image size, 'float32' or 'int8'; how much int8 loses is in the table."""
        path = self.stem.with_name(f'{self.stem.name}-{dtype}.onnx')
        if path in self.written:
            return path
        if dtype == 'int8':
            export_int8(self.cfg, self.checkpoint, path, max_loss=100., dynamic=True)
        else:
            export_model(self.cfg, self.checkpoint, path, 'onnx', dynamic=True)
        self.written.add(path)
        return path

    def score(self, run: Callable[[Tensor], Tensor], card: dict) -> dict[str, float]:
        """mIoU or top-1 accuracy, by its name, of images to logits."""
        model = init_model(self.cfg, self.checkpoint, device='cpu')
        substitute(model, ExportedModel(run, card))
        return dict([main_score(scores_of(model, self.loader, self.evaluator))])


def contestant_of(form: str, deployed: Deployed, images: Tensor, columns: dict[str, dict]) -> Contestant:
    """A form of a trained model, ready to run; its size and its score become columns.

    Raises:
        Unable: What runs it is not installed.
        Disagreement: A form in float32 gives other logits than PyTorch.
    """
    network = LogitsNetwork(init_model(deployed.cfg, deployed.checkpoint, device='cpu'))
    kind, _, dtype = form.partition('-')
    card = deployed.card
    if kind in ('eager', 'compiled'):
        module, compiled = network, kind == 'compiled'
        size = sum(tensor.nbytes for tensor in network.state_dict().values())
    else:
        path = deployed.file(dtype or 'float32')
        exported = load_exported(path)
        module, compiled, card = Runs(exported if kind == 'onnx' else openvino_of(path)), False, exported.card
        size = path.stat().st_size
    contestant = Contestant(module, (images, ), compiled=compiled)
    with torch.inference_mode():
        difference = relative_error(network(images), contestant.call(images))
    if not (dtype or difference <= TOLERANCE):
        raise Disagreement(f'{form} does not agree with eager: the logits differ by {difference:.1e} of their norm, '
                           f'allowed is {TOLERANCE:.0e}. Nothing was timed.')
    columns[form] = dict(file_mib=size / 2**20, logits_differ=difference, **deployed.score(contestant.call, card))
    return contestant


def deploy_case(trained: tuple[str, str], size: int | None, batch: int, wanted: Sequence[str], out: Path,
                settings: Settings) -> Case:
    """A trained model in the forms that are wanted, each beside eager PyTorch.

    Args:
        trained (tuple[str, str]): Config and checkpoint.
        size (int, optional): Image side for the clock. Defaults to that of the config.
        batch (int): Images in a batch.
        wanted (Sequence[str]): Of :data:`FORMS`; 'eager' always takes part.
        out (Path): Folder for the exported files.
        settings (Settings): float32 on a CPU.

    Raises:
        UserError: Another device or type, no data, or what the export refuses.
    """
    if settings.device.type != 'cpu' or settings.dtype != torch.float32:
        raise UserError('deploy compares on a CPU, from float32 on: --device cpu, without --dtype.')
    deployed = Deployed(*trained, out)
    height, width = (size, size) if size else default_size(deployed.cfg)
    images = torch.randn(batch, deployed.channels, height, width, generator=torch.Generator().manual_seed(0))
    columns: dict[str, dict] = {}
    forms = [form for form in FORMS if form in wanted or form == 'eager']
    return Case(
        labels=dict(model=Path(trained[0]).stem, size=f'{height}x{width}', batch=batch),
        builders={form: partial(contestant_of, form, deployed, images, columns) for form in forms},
        same_as={},
        references={form: dict(eager='eager') for form in forms},
        items=batch,
        columns=columns)
