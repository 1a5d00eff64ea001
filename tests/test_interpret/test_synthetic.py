"""Points in space: closed forms of a step, a union of lines at the end, the command."""
import pytest
import torch
from PIL import Image

from mmwhitebox.cli.measures import synthetic
from mmwhitebox.errors import UserError
from mmwhitebox.interpret.coding_rate import coding_rate
from mmwhitebox.interpret.synthetic import (
    STEPS,
    channel_step,
    class_subspace,
    iterate,
    linear_step,
    make_classes,
    rates,
    separation,
)
from tests.test_interpret.small import command, numbers


def test_linear_step_scales_singular_values():
    z = torch.randn(40, 3, dtype=torch.float64)
    u, s, vt = torch.linalg.svd(z, full_matrices=False)
    c = 3 / (40 * 0.1)
    expected = u * (s * (1 - 0.5 / (1 + c * s.square()))) @ vt
    torch.testing.assert_close(linear_step(z, 0.5, 0.1), expected)


def test_linear_step_goes_down_the_gradient_of_the_coding_rate():
    z = torch.randn(40, 3, dtype=torch.float64, requires_grad=True)
    coding_rate(z, 0.1).backward()
    c = 3 / (40 * 0.1)
    torch.testing.assert_close(linear_step(z, 0.3, 0.1), z - 0.3 / c * z.grad)


def test_channel_step_is_the_linear_one_on_axes():
    z = torch.linalg.qr(torch.randn(40, 3, dtype=torch.float64))[0] * torch.tensor([3., 2, 1], dtype=torch.float64)
    torch.testing.assert_close(channel_step(z, 0.5, 0.1), linear_step(z, 0.5, 0.1))


@pytest.mark.parametrize('name', STEPS)
def test_every_operator_compresses_each_class(name):
    states = iterate(make_classes(num_points=80), STEPS[name], 40, 0.5)
    compression = rates(states)['compression']
    assert states.shape == (41, 3, 80, 3) and states.isfinite().all()
    assert compression[-1] < 0.9 * compression[0]


def test_planes_become_separated_lines():
    points = make_classes()
    before = separation(points)
    after = separation(iterate(points, linear_step, 60, 0.5)[-1])
    assert [pair['dims'] for pair in before] == [[2, 2]] * 3 and [pair['dims'] for pair in after] == [[1, 1]] * 3
    assert max(pair['angles'][0] for pair in before) < 1e-6  # two planes share a line
    assert min(pair['angles'][0] for pair in after) > 60


def test_class_subspace():
    line = torch.randn(20, 1, dtype=torch.float64) * torch.tensor([1., 2., 2.], dtype=torch.float64)
    basis = class_subspace(line + 0.01 * torch.randn(20, 3, dtype=torch.float64))
    assert basis.shape == (3, 1)
    torch.testing.assert_close(basis[:, 0].abs(), torch.tensor([1., 2, 2], dtype=torch.float64) / 3, atol=0.02, rtol=0)


def test_points_depend_on_the_seed_alone():
    assert torch.equal(make_classes(seed=3), make_classes(seed=3))
    assert not torch.equal(make_classes(seed=3), make_classes(seed=4))


def test_command(tmp_path, capsys, monkeypatch):
    tool = command('synthetic')
    monkeypatch.setattr(synthetic, 'NUM_FRAMES', 2)
    assert tool(['--out', str(tmp_path), '--iterations', '2', '--points', '20', '--frames']) == 0
    rows = numbers(tmp_path, 'synthetic_rates')
    assert len(rows) == 4 * 3 and len({rows[0]['compression'], *(row['compression'] for row in rows[::3])}) == 1
    assert len(numbers(tmp_path, 'synthetic_angles')) == 5 * 3
    assert Image.open(tmp_path / 'synthetic.gif').n_frames == 2
    assert sorted(path.name for path in (tmp_path / 'frames').iterdir()) == ['000.png', '002.png']
    assert 'linear attention' in capsys.readouterr().out
    for bad in (['--step', '0'], ['--classes', '1'], ['--eps-squared', '-1']):
        with pytest.raises(UserError):
            tool(bad)
