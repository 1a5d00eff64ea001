"""What is measured on trained models: cost, speed, robustness against noise, zero-shot segmentation.

**reading** (robustness): figure 8 of CBSA compares a CBT decoder with Segmenter, so the noise goes to the attention of
the decoder alone; a decoder without attention is left out. One draw of the noise for each training, with its seed.

**reading** (zero-shot segmentation): CamVid has no foreground. Taken are the classes of Cityscapes' groups human,
vehicle and object: pole, sign symbol, car, pedestrian and bicyclist; the fence is a construction there, so it is
background, like all the rest. Pixels up to 2 from the change between the two are the boundary: 4 in all, where VOC's
is about 5. The score is that of CBSA's table 5, the best map of all layers and heads for each image and target, at the
full 480 x 360. A segmentor sees the images at its own 240 x 180; a classifier of CIFAR-10 at 128 x 96, whose grid of
32 x 24 patches is nearer than that of the full size to the 8 x 8 that it was trained on. The best of so many maps is
above chance by itself, so two more rows are scored alike: 'chance', as many maps without a preference, uniform but for
noise that picks the 60 % of the patches; 'untrained', the models at initial weights, the mean over the rows, whose maps
depend on the picture as well.
"""
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS
from torch import Tensor

from benchmarks.cases import Case, Contestant, Settings
from benchmarks.report import hardware, say
from benchmarks.rounds import quartiles, ratios, run_case
from mmwhitebox.apis import init_model
from mmwhitebox.apis.data import scope_of
from mmwhitebox.apis.export import LogitsNetwork
from mmwhitebox.apis.scoring import evaluation_loader
from mmwhitebox.cli.measures.perturbation import evaluation
from mmwhitebox.datasets import check_datasets
from mmwhitebox.engine.metrics import ZeroShotSegmentation
from mmwhitebox.engine.silence import silent
from mmwhitebox.errors import DatasetLayoutError
from mmwhitebox.interpret import count_flops, count_parameters
from mmwhitebox.interpret.patch_maps import patch_grid, patch_size
from mmwhitebox.interpret.perturbation import attention_projections, noise_sweep
from mmwhitebox.interpret.zero_shot import TARGETS, make_targets, score_image

from .runs import Run, augmented_metrics
from .suites import FOLDER, ROOT, Suite

SCALES = (0, 0.25, 0.5, 1, 2)
BATCH = 4
ROUNDS, QUICK_ROUNDS = 30, 3
QUICK_IMAGES = 8
CAMVID = FOLDER / 'configs' / '_base_' / 'camvid.py'
FOREGROUND = ('pole', 'sign symbol', 'car', 'pedestrian', 'bicyclist')
BOUNDARY_WIDTH = 2
CLASSIFIER_SCALE = (128, 96)  # width, height


def measure(suite: Suite, runs: Sequence[Run], quick: bool) -> dict:
    """Measure what the trained models of a suite cost and do, with torch's number of threads.

    Args:
        suite (Suite): Where the runs belong.
        runs (Sequence[Run]): Its trainings; those without a checkpoint are left out.
        quick (bool): A few images and rounds.

    Returns:
        dict: ``complexity``, of all; ``speed``, ``robustness``, ``windows`` and, of the best recipes, ``tta``
        (test-time augmentation) of segmentors; ``zero_shot`` where CamVid is there; ``environment``. By the names
        of the rows, and of values that depend on a training by the seed.
    """
    runs = [run for run in runs if checkpoint_of(run) is not None]
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.row.name, run)
    results = dict(environment=dict(hardware=hardware(), threads=torch.get_num_threads()))
    if not runs:
        say('no checkpoints: nothing to measure')
        return results
    with silent():
        models = {name: load(run) for name, run in first.items()}
        images = {name: some_images(model) for name, model in models.items()}
        results['complexity'] = {name: complexity(model, images[name][:1]) for name, model in models.items()}
        if all(hasattr(model, 'decode_head') for model in models.values()):
            results['speed'] = speed(models, images, suite.rows()[0].name, QUICK_ROUNDS if quick else ROUNDS)
            results['robustness'] = robustness(runs, quick)
            results['windows'] = windowed(runs, quick)
            results['tta'] = augmented(runs, quick)
        found = zero_shot(runs, quick)
    return dict(results, **dict(zero_shot=found) if found else {})


def checkpoint_of(run: Run) -> Path | None:
    """The last checkpoint of a run; None if there is none."""
    note = run.work_dir / 'last_checkpoint'
    path = run.work_dir / Path(note.read_text().strip()).name if note.is_file() else None
    return path if path is not None and path.is_file() else None


def load(run: Run) -> BaseModel:
    """The trained model of a run."""
    return init_model(ROOT / run.suite.config(run.row), str(checkpoint_of(run)))


def some_images(model: BaseModel) -> Tensor:
    """:data:`BATCH` images of the test dataset as the network gets them, (B, 3, H, W)."""
    return model.data_preprocessor(next(iter(evaluation_loader(model.cfg, BATCH))), False)['inputs']


def complexity(model: BaseModel, image: Tensor) -> dict[str, float]:
    """Parameters and FLOPs of a model for one image; of a segmentor also those of the decoder alone."""
    network = LogitsNetwork(init_model(model.cfg, device='cpu')).to('meta')
    image = image.to('meta')
    costs = dict(parameters=count_parameters(network), flops=float(count_flops(network, image)))
    if hasattr(model, 'decode_head'):
        decoder = network.model.decode_head
        with torch.no_grad():
            features = network.model.extract_feat(image)
        costs.update(decoder_parameters=count_parameters(decoder),
                     decoder_flops=float(count_flops(decoder, features)))
    return costs


def speed(models: dict[str, BaseModel], images: dict[str, Tensor], reference: str, rounds: int) -> dict[str, dict]:
    """Images per second from image to logits of every pixel, timed in turns, and the ratio to a reference.

    Each model gets its own ``images``, (B, 3, H, W): recipes may differ in size.
    """
    batch, _, height, width = images[reference].shape
    say(f'speed: {", ".join(models)}; {rounds} rounds of {batch} images')
    case = Case(
        labels=dict(size=f'{height}x{width}', mode='inference'),
        builders={name: lambda name=name, model=model: Contestant(LogitsNetwork(model), (images[name], ))
                  for name, model in models.items()},
        same_as={}, references={name: {reference: reference} for name in models}, items=batch)
    timed = run_case(case, Settings(images[reference].device, rounds=rounds, min_seconds=0.1))
    relative = {**ratios(timed), reference: {reference: dict(median=1., low=1., high=1.)}}
    results = {}
    for name, row in timed['contestants'].items():
        if not row.get('seconds'):
            say(f'speed: {name} is left out: {row["reason"]}')
            continue
        results[name] = dict(images_per_second=quartiles([batch / seconds for seconds in row['seconds']]))
        if reference in relative.get(name, {}):
            results[name]['ratio'] = relative[name][reference]
        say(f'speed: {name} {results[name]["images_per_second"]["median"]:g} images/s')
    return results


def by_seed(what: str, runs: Sequence[Run], measured: Callable[[Run], object]) -> dict[str, dict[str, object]]:
    """Row -> seed -> what was measured of a run; without the runs of which there is nothing."""
    results: dict[str, dict[str, object]] = {}
    for run in runs:
        found = measured(run)
        say(f'{what}: {run.name} {"has none" if found == [] else found}')
        if found != []:
            results.setdefault(run.row.name, {})[str(run.seed)] = found
    return results


def robustness(runs: Sequence[Run], quick: bool) -> dict[str, dict]:
    """mIoU on the test dataset under noise on the projections of the decoder's attention; without it, nothing."""
    found = by_seed(f'mIoU under noise of {SCALES} on the attention of the decoder', runs,
                    lambda run: noise_scores(load(run), run.seed, QUICK_IMAGES if quick else None))
    return {row: dict(scales=list(SCALES), values=values) for row, values in found.items()}


def windowed(runs: Sequence[Run], quick: bool) -> dict[str, dict[str, float]]:
    """mIoU on the test dataset in sliding windows of the training's crops, half a window apart."""
    def score(run: Run) -> float:
        model = load(run)
        height, width = model.cfg.model.data_preprocessor.size
        model.test_cfg.update(mode='slide', crop_size=(height, width), stride=(height // 2, width // 2))
        loader = evaluation_loader(model.cfg, QUICK_IMAGES if quick else None)
        return round(evaluation(model, loader, lambda: None)(), 2)

    return by_seed('mIoU in windows', runs, score)


def augmented(runs: Sequence[Run], quick: bool) -> dict[str, dict]:
    """mIoU of the best recipes with test-time augmentation."""
    best = [run for run in runs if run.row in run.suite.tables.get('best', ())]
    return by_seed('mIoU with test-time augmentation', best, lambda run: augmented_metrics(
        run, checkpoint_of(run), run.suite.quick if quick else ())['mIoU'])


def noise_scores(model: BaseModel, seed: int, max_images: int | None) -> list[float]:
    """mIoU at each of :data:`SCALES`; empty if the decoder has no attention."""
    projections = [projection for layer in attention_projections(model, 'decoder').values() for projection in layer]
    if not projections:
        return []
    score = evaluation(model, evaluation_loader(model.cfg, max_images), lambda: None)
    return [round(draw['score'], 2) for draw in noise_sweep(projections, score, SCALES, 1, seed)]


def zero_shot(runs: Sequence[Run], quick: bool) -> dict[str, dict]:
    """Jaccard index in percent of the class token's maps with each target on CamVid; empty without CamVid."""
    classifier = not hasattr(load(runs[0]), 'decode_head')
    try:
        scenes, classes = street_scenes(CLASSIFIER_SCALE if classifier else None, QUICK_IMAGES if quick else None)
    except DatasetLayoutError as error:
        say(f'zero-shot segmentation is left out: {error}')
        return {}
    results: dict[str, dict] = {}

    def note(row: str, seed: int, scores: dict[str, float]) -> None:
        for target in TARGETS:
            if target in scores:  # some image has it
                results.setdefault(row, {}).setdefault(target, {})[str(seed)] = scores[target]
        say(f'zero-shot segmentation: {row}, seed {seed}, '
            f'{", ".join(f"{target} {scores[target]:.2f}" for target in TARGETS if target in scores)}')

    for run in runs:
        note(run.row.name, run.seed, map_scores(zero_shot_metric(load(run), classes), scenes))
    for seed in dict.fromkeys(run.seed for run in runs):
        metrics = [zero_shot_metric(untrained(run), classes) for run in runs if run.seed == seed]
        scores = [map_scores(metric, scenes) for metric in metrics]
        note('untrained', seed, {key: round(fmean(values[key] for values in scores), 2) for key in scores[0]})
        note('chance', seed, chance_scores(metrics[0], scenes, seed))
    return results


def untrained(run: Run) -> BaseModel:
    """A model with weights as at the start of a run, though not the same draw."""
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        model = init_model(ROOT / run.suite.config(run.row))
        model.init_weights()
    return model


def street_scenes(scale: tuple[int, int] | None, max_images: int | None) -> tuple[list[dict], list[str]]:
    """Validation images of CamVid with their labels, evenly spaced, and the names of the classes.

    Args:
        scale (tuple[int, int], optional): Width and height to resize to; None keeps that of the trainings.
        max_images (int, optional): None takes all.

    Raises:
        DatasetLayoutError: CamVid is not there.
    """
    cfg = Config.fromfile(CAMVID)
    check_datasets(cfg, ('val', ))
    for step in cfg.val_dataloader.dataset.pipeline:
        if step.type == 'Resize' and scale is not None:
            step.scale = scale
    with DATASETS.switch_scope_and_registry(scope_of(cfg)) as registry:
        dataset = registry.build(cfg.val_dataloader.dataset)
    count = min(len(dataset), max_images or len(dataset))
    return [dataset[i * len(dataset) // count] for i in range(count)], list(dataset.metainfo['classes'])


def zero_shot_metric(model: BaseModel, classes: Sequence[str]) -> ZeroShotSegmentation:
    """The metric that looks into a model."""
    metric = ZeroShotSegmentation(foreground=[classes.index(name) for name in FOREGROUND],
                                  boundary_width=BOUNDARY_WIDTH)
    metric.set_model(model)
    return metric


def map_scores(metric: ZeroShotSegmentation, scenes: Sequence[dict]) -> dict[str, float]:
    """What the metric says of the maps of its model."""
    for scene in scenes:
        metric.process(dict(inputs=[scene['inputs']], data_samples=[scene['data_samples']]), [])
    return metric.compute_metrics(metric.results)


def chance_scores(metric: ZeroShotSegmentation, scenes: Sequence[dict], seed: int) -> dict[str, float]:
    """What the metric says of as many maps that are uniform but for noise, which decides the order of the patches."""
    generator = torch.Generator().manual_seed(seed)
    results = []
    for scene in scenes:
        size = scene['inputs'].shape[-2:]
        maps = {name: 1 + 1e-3 * torch.rand(layer.num_heads, *patch_grid(metric.model, size), generator=generator)
                for name, layer in metric.layers.items()}
        targets = make_targets(scene['data_samples'].gt_sem_seg.data.squeeze(0).numpy(), **metric.target_args)
        results.append(score_image(maps, targets, size, patch_size(metric.model), metric.mass))
    return metric.compute_metrics(results)
