"""ISTA and ODL against the official implementations: outputs and gradients."""
import pytest

from mmwhitebox.models.feedforward import ISTA, ODL
from tests.golden import Golden, assert_close, check_gradients, form  # noqa: F401

ODL_KEYS = dict(dictionary='D', dictionary_out='D1')


@pytest.mark.parametrize('case', ['ista', 'ista_crate'])
def test_outputs_and_gradients(case, form):  # noqa: F811
    golden = Golden(case)
    module = ISTA(48)
    module.load_state_dict(golden.params)
    x = golden.inputs['x'].requires_grad_()
    y = module(x)
    assert_close(y, golden.outputs['y'], 'y')
    check_gradients(golden, module, y, x, lambda grads: grads)


def test_outputs_and_gradients_of_odl(form):  # noqa: F811
    golden = Golden('overcomplete_ista')
    module = ODL(48)
    module.load_state_dict({key: golden.params[official] for key, official in ODL_KEYS.items()})
    x = golden.inputs['x'].requires_grad_()
    y = module(x)
    assert_close(y, golden.outputs['y'], 'y')
    check_gradients(golden, module, y, x, lambda grads: {ODL_KEYS[key]: grad for key, grad in grads.items()})
