"""Every config: it builds, learns and predicts, on a non-square image too, and its pipelines resolve."""
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from tests.configs import CONFIGS, SIZE, reduced

SEGMENTATION = [name for name in CONFIGS if 'decode_head' in reduced(name).model]


def seg_sample(h, w, num_classes):
    labels = torch.randint(0, num_classes, (1, h, w))
    labels[:, 0] = 255
    return SegDataSample(gt_sem_seg=PixelData(data=labels),
                         metainfo=dict(img_shape=(h, w), ori_shape=(h, w), pad_shape=(h, w)))


@pytest.mark.parametrize('name', SEGMENTATION)
def test_segmentation_config(name):
    cfg = reduced(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    num_classes = cfg.model.decode_head.num_classes
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)

    model.data_preprocessor.size = (SIZE, SIZE)
    data = model.data_preprocessor(
        dict(inputs=list(images), data_samples=[seg_sample(SIZE, SIZE, num_classes) for _ in images]), True)
    losses = model(**data, mode='loss')
    losses['decode.loss_ce'].backward()
    lacking = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert torch.isfinite(losses['decode.loss_ce']) and not lacking

    model.eval()
    h, w = SIZE // 2 + 5, SIZE + 23  # no multiple of any patch size
    image = torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
    with torch.no_grad():
        result = model.test_step(dict(inputs=[image], data_samples=[seg_sample(h, w, num_classes)]))[0]
    assert result.seg_logits.data.shape == (num_classes, h, w)
    assert result.pred_sem_seg.data.shape == (1, h, w)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_resolve(name):
    cfg = reduced(name)
    init_default_scope(cfg.default_scope)
    Compose(cfg.train_dataloader.dataset.pipeline)
    Compose(cfg.test_dataloader.dataset.pipeline)
    if 'tta_pipeline' in cfg:
        Compose(cfg.tta_pipeline)


@pytest.mark.parametrize('name', SEGMENTATION)
def test_crop_and_positions_agree(name):
    """The crop of the pipeline, the preprocessor, the position table and the test window are one size."""
    from tests.configs import ROOT, Config
    cfg = Config.fromfile(ROOT / 'configs' / name)
    crop = next(step.crop_size for step in cfg.train_pipeline if step.type == 'RandomCrop')
    assert tuple(cfg.model.data_preprocessor.size) == tuple(crop)
    assert cfg.model.backbone.img_size in (crop[0], tuple(crop))
    if cfg.model.test_cfg.mode == 'slide':
        assert tuple(cfg.model.test_cfg.crop_size) == tuple(crop)
