"""Threads: a segmentor beside a classifier gives what each gives alone, and the process keeps its settings."""
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import DefaultScope

from mmwhitebox.apis import inference_model, init_model
from mmwhitebox.checkpoints import safe_load
from tests.configs import reduced


def settings():
    backends, scope = torch.backends, DefaultScope.get_current_instance()
    return (torch.get_float32_matmul_precision(), backends.cuda.matmul.fp32_precision,
            backends.mkldnn.matmul.fp32_precision, backends.mkldnn.enabled, backends.mha.get_fastpath_enabled(),
            scope and scope.scope_name)


@pytest.mark.parametrize('precision', ['highest', 'high'])
def test_eight_threads(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        _stress()
    finally:
        torch.set_float32_matmul_precision(before)


def _stress():
    was = settings()
    torch.manual_seed(0)
    segmentor = init_model(reduced('cbt_decoder/cbt_decoder_mini_ade20k.py'), device='cpu')
    cfg = reduced('cbt/cbt_tiny_imagenet.py')
    classifier = init_model(cfg, device='cpu')
    images = [np.random.default_rng(i).integers(0, 256, (40 + i, 64, 3), dtype=np.uint8) for i in range(4)]

    def answers(i):
        if i % 8 == 7:
            init_model(cfg, device='cpu')  # builds under another scope meanwhile
        seen = settings()
        image = images[i % 4]
        result = inference_model(segmentor, image)
        return result.mask, result.probabilities, inference_model(classifier, image).probabilities, seen

    expected = [answers(i) for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answers, range(32)))
    for i, (mask, probabilities, scores, seen) in enumerate(found):
        np.testing.assert_array_equal(mask, expected[i % 4][0])
        np.testing.assert_allclose(probabilities, expected[i % 4][1], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(scores, expected[i % 4][2], rtol=1e-4, atol=1e-6)
        assert seen[:-1] == was[:-1]
    assert settings() == was


def test_checkpoints_of_trainings_are_read_by_many_threads(tmp_path):
    history = HistoryBuffer()
    history.update(1.)  # as in a checkpoint of mmengine: of types that are safe only while it is read
    torch.save(dict(state_dict={}, message_hub=history), tmp_path / 'a.pth')
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: safe_load(tmp_path / 'a.pth'), range(150)))
    finally:
        sys.setswitchinterval(interval)
