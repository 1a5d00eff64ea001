"""Which processors have bfloat16 instructions, and who hears that one has none."""
import platform

import pytest
import torch
from mmengine.config import Config

from mmwhitebox.cli import doctor
from mmwhitebox.engine import devices
from mmwhitebox.engine.setup import use_amp
from mmwhitebox.ops.precision import bf16_is_emulated


def processor(monkeypatch, avx512=False, amx=False, machine='x86_64'):
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    for name, answer in (('_is_avx512_bf16_supported', avx512), ('_is_amx_tile_supported', amx)):
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)


@pytest.mark.parametrize('kwargs, emulated', [
    (dict(), True), (dict(avx512=True), False), (dict(amx=True), False), (dict(machine='AMD64'), True),
    (dict(machine='aarch64'), False), (dict(machine='arm64'), False)])
def test_bf16_is_emulated_without_instructions(kwargs, emulated, monkeypatch):
    processor(monkeypatch, **kwargs)
    assert bf16_is_emulated('cpu') is emulated and not bf16_is_emulated('cuda:0')


def test_a_torch_that_cannot_tell_counts_as_without(monkeypatch):
    processor(monkeypatch)
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.delattr(torch.cpu, name)
    assert bf16_is_emulated('cpu')


def test_this_processor_says_what_the_kernel_says():
    try:
        flags = next(line for line in open('/proc/cpuinfo') if line.startswith('flags')).split()
    except (OSError, StopIteration):
        pytest.skip('no flags of the processor')
    assert bf16_is_emulated('cpu') is not bool({'avx512_bf16', 'amx_tile'} & set(flags))


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(devices.LOG, 'warning', lines.append)
    return lines


def test_a_slow_bf16_is_said_in_one_line_and_goes_on(said, monkeypatch):
    processor(monkeypatch)
    assert devices.autocast_dtype('fp32', 'cpu') == torch.float32 and not said
    assert devices.autocast_dtype('bf16', 'cuda') == torch.bfloat16 and not said
    assert devices.autocast_dtype('bf16', 'cpu') == torch.bfloat16
    line, = said
    assert 'AVX512-BF16' in line and 'slower than fp32' in line and '\n' not in line


def test_so_is_a_training(said, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for emulated in (True, False):
        processor(monkeypatch, amx=not emulated)
        said.clear()
        use_amp(Config(dict(optim_wrapper=dict(type='OptimWrapper', dtype='bfloat16'))))
        assert len(said) == emulated


def test_doctor_names_it(monkeypatch):
    processor(monkeypatch)
    assert 'slower than fp32' in dict(doctor.accelerator_rows())['bf16 on the CPU']
    processor(monkeypatch, avx512=True)
    assert 'bf16 on the CPU' not in dict(doctor.accelerator_rows())
