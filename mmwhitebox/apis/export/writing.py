"""Writing a trained model as a file for deployment, after comparing it with the model."""
import json
import tempfile
from pathlib import Path

import torch
from mmengine.config import Config
from safetensors.torch import save

from mmwhitebox.errors import UserError

from ..inference import init_model
from .agreement import measure_agreement
from .card import metadata, model_card
from .graph import need_onnx, to_onnx, trace
from .networks import LogitsNetwork, check_sizes, default_size, patch_size
from .reading import CARD_FILE, load_exported

SUFFIXES = {'safetensors': '.safetensors', 'onnx': '.onnx', 'torch-export': '.pt2'}


def export_model(config: str | Path | Config,
                 checkpoint: str | Path,
                 out: str | Path,
                 file_format: str,
                 size: tuple[int, int] | None = None,
                 dynamic: bool = False,
                 batch: int = 1,
                 trust_checkpoint: bool = False) -> dict:
    """Write a trained model as a file for deployment, with its card, after comparing it with the model.

    ======================  =========================================================================
    'safetensors'           the weights; the config in the card rebuilds the model. Any image size.
    'onnx'                  the graph, opset 18; compared with onnxruntime
    'torch-export'          the graph, for ``torch.export.load``
    ======================  =========================================================================

    Args:
        config (str | Path | Config): Config of a segmentor or a classifier.
        checkpoint (str | Path): Checkpoint of that config.
        out (str | Path): Output file, ``.safetensors``, ``.onnx`` or ``.pt2`` as the format is.
        file_format (str): See above.
        size (tuple[int, int], optional): Image size (H, W), a multiple of the patch. Defaults to the
            config's crop or the size of its position table.
        dynamic (bool): Height and width of the graph's images are free: any multiple of the patch, from two
            patches on. Defaults to False.
        batch (int): Images in a batch, which is fixed in a graph. Defaults to 1.
        trust_checkpoint (bool): Unpickle whatever the checkpoint holds, which can run code. Defaults to False.

    Returns:
        dict: The model card, also written to ``OUT.json``.

    Raises:
        UserError: Unknown format or suffix, wrong size, no such graph, or the file does not agree with the
            model. Nothing is written then.
        CheckpointError: The checkpoint is missing, broken, or of another model.
    """
    out, checkpoint = Path(out), Path(checkpoint)
    if file_format not in SUFFIXES:
        raise UserError(f'Unknown format {file_format!r}. Formats: {", ".join(SUFFIXES)}.')
    if out.suffix != SUFFIXES[file_format]:
        raise UserError(f'{out}: a file of format {file_format} is called *{SUFFIXES[file_format]}.')
    if batch < 1:
        raise UserError(f'The batch size must be positive, got {batch}.')
    if file_format == 'onnx':
        need_onnx()
    model = init_model(config, str(checkpoint), device='cpu', trust_checkpoint=trust_checkpoint)
    size, patch = size or default_size(model.cfg), patch_size(model.backbone)
    dynamic = dynamic or file_format == 'safetensors'
    sizes = check_sizes(size, patch, dynamic)
    channels = model.cfg.model.backbone.get('in_channels', 3)
    network = LogitsNetwork(model)
    card = model_card(model, checkpoint, file_format, size, dynamic, batch)
    if file_format != 'safetensors':
        program = trace(network, batch, channels, sizes[-1], patch, dynamic)
    if file_format == 'onnx':
        onnx_program = to_onnx(program)

    def write(path: Path) -> None:
        if file_format == 'safetensors':
            path.write_bytes(save({k: v.clone() for k, v in model.state_dict().items()}, metadata(card)))
        elif file_format == 'onnx':
            onnx_program.model.metadata_props.update(metadata(card))
            onnx_program.save(path, external_data=False)
        else:
            torch.export.save(program, path, extra_files={CARD_FILE: json.dumps(card)})

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.export_', dir=out.parent) as folder:
            draft = Path(folder) / out.name
            write(draft)
            card['agreement'] = measure_agreement(
                network, load_exported(draft, trust=True), batch, channels, sizes)
            write(draft)
            card_draft = Path(f'{draft}.json')
            card_draft.write_text(json.dumps(card, indent=1) + '\n')
            draft.replace(out)
            card_draft.replace(f'{out}.json')
    except OSError as error:
        raise UserError(f'{out} cannot be written ({error.strerror or error}).') from error
    return card
