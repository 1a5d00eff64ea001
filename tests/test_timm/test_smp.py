"""The encoders in segmentation_models_pytorch, whose decoder for plain transformers is DPT."""
import pytest
import torch

import mmwhitebox.timm  # noqa: F401
from mmwhitebox.models.backbones import WhiteBoxTransformer
from tests.test_timm.small import images

smp = pytest.importorskip('segmentation_models_pytorch', reason='segmentation-models-pytorch is not installed')


@pytest.mark.parametrize('name, args', [
    ('cbt_tiny', {}), ('tost_tiny', dict(global_pool='avg', decoder_readout='ignore'))])
def test_dpt(name, args):
    model = smp.DPT(encoder_name=f'tu-{name}', encoder_weights=None, classes=3, **args).eval()
    assert model(images(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_dpt_with_weights(tmp_path):
    encoder = WhiteBoxTransformer('cbt-tiny')
    torch.save(encoder.state_dict(), tmp_path / 'encoder.pth')
    model = smp.DPT(encoder_name='tu-cbt_tiny', encoder_weights=True,
                    pretrained_cfg_overlay=dict(file=str(tmp_path / 'encoder.pth'))).eval()
    loaded = model.encoder.model.backbone.state_dict()
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded[key], value), key
