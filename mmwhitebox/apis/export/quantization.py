"""int8: a float32 ONNX file with its matrix products in 8-bit integers, and what that costs.

The ranges of activations come from images of the training set, as they come to the network in testing. Weights have
a scale for every output. Products of two activations, softmax, norms, statistics, and convolutions, which read
pixels, stay float32; so does the result of every product.
"""
import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import ConcatDataset

from mmwhitebox.datasets import check_datasets
from mmwhitebox.datasets.layout import leaf_datasets
from mmwhitebox.errors import UserError

from ..data import building, evaluation_split, scope_of
from ..inference import init_model
from ..scoring import evaluation_loader, evaluator_of, main_score, scores_of
from .card import metadata
from .reading import load_exported
from .substitute import check_image_size, padded, substitute
from .writing import check_request, draft_of, export_model, keep

if TYPE_CHECKING:
    from onnx import ModelProto

PRODUCTS = ('MatMul', 'Gemm')


def sums_apart(model: 'ModelProto') -> None:
    """Take the computed matrix out of Gemms that add one to a product of constant weights, as ISTA's do.

    An integer product adds constants only. C + A B becomes C - A (-B), because onnxruntime would make one Gemm of a
    product and a sum again.
    """
    from onnx import helper, numpy_helper
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        options = {'alpha': 1., 'beta': 1., 'transA': 0, 'transB': 0}
        options |= {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if (node.op_type != 'Gemm' or len(node.input) < 3 or node.input[1] not in constants
                or node.input[2] in constants or options['transA'] or options['beta'] != 1):
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        negative = np.ascontiguousarray(-options['alpha'] * (weight.T if options['transB'] else weight), weight.dtype)
        weight_name, product = f'{node.name}_weight', f'{node.name}_product'
        model.graph.initializer.append(numpy_helper.from_array(negative, weight_name))
        nodes += [helper.make_node('MatMul', [node.input[0], weight_name], [product], name=product),
                  helper.make_node('Sub', [node.input[2], product], node.output, name=f'{node.name}_sum')]
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)


def inputs_apart(model: 'ModelProto') -> list[str]:
    """Give the products with constant weights inputs that nothing else reads, and return their names.

    Without them, what adds the same tensor, a residual, would get it rounded.

    Raises:
        UserError: There is no such product.
    """
    from onnx import helper
    constants = {tensor.name for tensor in model.graph.initializer}
    names, nodes, apart = [], [], {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS and node.input[1] in constants:
            names.append(node.name)
            shared = node.input[0]
            if shared not in apart:
                apart[shared] = f'{shared}_of_products'
                nodes.append(helper.make_node('Identity', [shared], [apart[shared]], name=apart[shared]))
            node.input[0] = apart[shared]
        nodes.append(node)
    if not names:
        raise UserError('The graph has no matrix product with constant weights, so int8 would change nothing.')
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return names


def quantize(source: Path, out: Path, images: Sequence[Tensor]) -> int:
    """Write an ONNX file with integer matrix products, in QDQ format.

    Activations are unsigned and have one range, from the least to the largest value that the images cause;
    weights are signed and symmetric, with a scale for every output.

    Args:
        source (Path): The file in float32, with the input ``images``.
        out (Path): The file to write.
        images (Sequence[Tensor]): What the network gets, each (B, C, H, W) as the file takes it.

    Returns:
        int: How many products became integers.

    Raises:
        UserError: There is no product to quantize.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inputs = (dict(images=image.numpy()) for image in images)

    class Images(quantization.CalibrationDataReader):

        def get_next(self) -> dict | None:
            return next(inputs, None)

    with tempfile.TemporaryDirectory() as folder:
        simplified = Path(folder) / 'simplified.onnx'
        quant_pre_process(str(source), str(simplified), skip_symbolic_shape=True)
        model = onnx.load(simplified)
        sums_apart(model)
        names = inputs_apart(model)
        onnx.save(model, simplified)
        quantization.quantize_static(
            str(simplified), str(out), Images(), quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS), nodes_to_quantize=names, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options=dict(OpTypesToExcludeOutputQuantization=list(PRODUCTS)))
    return len(names)


def training_images(cfg: Config, steps: Sequence[dict]) -> ConcatDataset:
    """The images of the training set of a config, prepared by the steps of a pipeline.

    Raises:
        UserError: The config has no training set.
        DatasetLayoutError: Its data is not there.
    """
    if not cfg.get('train_dataloader'):
        raise UserError('int8 is calibrated on images of the training set, and the config has no train_dataloader.')
    check_datasets(cfg, ('train', ))
    with DATASETS.switch_scope_and_registry(scope_of(cfg)) as registry:
        return ConcatDataset([registry.build(dict(dataset, pipeline=list(steps)))
                              for dataset in leaf_datasets(cfg.train_dataloader.dataset)])


def calibration_images(model: BaseModel, count: int, seed: int = 0) -> list[Tensor]:
    """What the network of a model gets of images of the training set, in testing: for calibration.

    Args:
        model (BaseModel): From :func:`init_model`, with its test pipeline.
        count (int): Images; all, if there are fewer. Of a segmentor that looks through windows, one of each image.
        seed (int): Of their choice. Defaults to 0.

    Returns:
        list[Tensor]: Each (1, C, H, W).

    Raises:
        UserError: No images are asked for, or the config has no training set or no test pipeline.
    """
    if count < 1:
        raise UserError(f'{count} images for calibration: int8 needs at least one, better 64.')
    if model.test_pipeline is None:
        raise UserError('The config has no test pipeline, which prepares the images for calibration.')
    generator = np.random.default_rng(seed)
    images = training_images(model.cfg, model.test_pipeline.steps)
    chosen: list[Tensor] = []
    windows: list[Tensor] = []
    hook = model.backbone.register_forward_pre_hook(lambda module, args: windows.extend(args[0].cpu().split(1)))
    with torch.inference_mode(), building(model.cfg), hook:
        for index in sorted(generator.permutation(len(images))[:count]):
            sample = images[int(index)]
            model.test_step(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))
            chosen.append(windows[generator.integers(len(windows))])
            windows.clear()
    return chosen


def as_the_file_takes(card: dict, images: Sequence[Tensor]) -> list[Tensor]:
    """Single images, (1, C, H, W), in whole patches and in batches of the file.

    Raises:
        UserError: The file takes images of another size.
    """
    batch = card['batch_size'] if isinstance(card['batch_size'], int) else 1
    images = [padded(image, card['size_multiple_of']) for image in images]
    for image in images:
        check_image_size(card, image)
    if batch == 1:
        return images  # themselves, not copies
    filled = [*images, *images[:1] * (-len(images) % batch)]
    return [torch.cat(filled[i:i + batch]) for i in range(0, len(filled), batch)]


def export_int8(config: str | Path | Config,
                checkpoint: str | Path,
                out: str | Path,
                count: int = 64,
                max_loss: float = 1.,
                seed: int = 0,
                trust_checkpoint: bool = False,
                on_progress: Callable[[str, int, int], None] | None = None,
                **options) -> dict:
    """Write a trained model as an ONNX file in int8, after scoring it beside the float32 model.

    Both are scored on the test set of the config, or on the validation where there is none, by the config's metrics.

    Args:
        config (str | Path | Config): Config of a segmentor or a classifier, with a training set.
        checkpoint (str | Path): Checkpoint of that config.
        out (str | Path): Output file, ``.onnx``.
        count (int): Images of the training set for the ranges of activations. Defaults to 64.
        max_loss (float): Most points of mIoU, or of top-1 accuracy, that int8 may lose. Defaults to 1.
        seed (int): Of the choice of these images. Defaults to 0.
        trust_checkpoint (bool): Unpickle whatever the checkpoint holds, which can run code. Defaults to False.
        on_progress (Callable, optional): Called with what is done, how much of it is done, and of how much.
        **options: Of :func:`export_model`: ``size``, ``dynamic``, ``batch``, ``opset``.

    Returns:
        dict: The model card, also written to ``OUT.json``; beside what :func:`export_model` says, ``calibration``
        (``split``, ``images``, ``seed``), ``int8_products``, and ``scores`` (``metric``, ``float32``, ``int8``,
        ``loss``, in points; ``split`` and ``images`` they are of).

    Raises:
        UserError: The loss is larger, there is no data, or what :func:`export_model` refuses. Nothing is written then.
        CheckpointError: The checkpoint is missing, broken, or of another model.
    """
    out = Path(out)
    check_request(out, 'onnx', options.get('dynamic', False), options.get('batch'), processing=False,
                  opset=options.get('opset'), dtype='float32')
    if options.get('processing'):
        raise UserError('int8 is scored as a network of logits, with the pipeline of the config around it: leave '
                        '--with-processing out.')
    model = init_model(config, str(checkpoint), device='cpu', trust_checkpoint=trust_checkpoint)
    loader, evaluator = evaluation_loader(model.cfg), evaluator_of(model.cfg)
    images = calibration_images(model, count, seed)

    def scored(name: str) -> tuple[str, float]:
        numbers = itertools.count(1)
        step = on_progress and (lambda: on_progress(f'scoring {name}', next(numbers), len(loader)))
        return main_score(scores_of(model, loader, evaluator, step))

    metric, before = scored('float32')
    with draft_of(out) as draft:
        wide = draft.with_name(f'float32_{draft.name}')
        # an ISTA in one product would have x itself among the integers
        card = export_model(config, checkpoint, wide, 'onnx', trust_checkpoint=trust_checkpoint, optimized=False,
                            **options)
        products = quantize(wide, draft, as_the_file_takes(card, images))
        card.update(dtype='int8', int8_products=products,
                    calibration=dict(split='train', images=len(images), seed=seed))
        write_card(draft, card)
        substitute(model, load_exported(draft))
        after = scored('int8')[1]
        loss = round(before - after, 2)
        card['scores'] = dict(metric=metric, float32=before, int8=after, loss=loss,
                              split=evaluation_split(model.cfg), images=len(loader.dataset))
        if not loss <= max_loss:  # nor if it is NaN
            raise UserError(f'int8 loses {loss:g} points of {metric}: {after:.2f}, float32 has {before:.2f}; '
                            f'{max_loss:g} are allowed. The file was not kept. More --calibration-images than '
                            f'{len(images)} may help, or --max-loss allows more.')
        write_card(draft, card)
        keep(draft, out, card)
    return card


def write_card(path: Path, card: dict) -> None:
    """Write a card into an ONNX file."""
    import onnx
    model = onnx.load(path)
    onnx.helper.set_model_props(model, metadata(card))
    onnx.save(model, path)
