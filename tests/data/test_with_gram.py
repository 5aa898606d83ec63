"""The Gram of the inputs made once, on the task."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from support.reference import random_network

from gramdyn.data import gaussian
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, Relative, simulate
from gramdyn.systems import make_system

# A mean far from zero and many inputs: sums in which float32 loses digits.
N, D = 8, 300


def test_it_is_the_product_of_the_inputs_and_the_rest_stays():
    task = gaussian(n_samples=N, n_inputs=D, seed=2)
    found = task.with_gram()
    assert task.input_gram is None
    by_hand = [
        [sum(a * b for a, b in zip(x, y, strict=True)) for y in task.inputs] for x in task.inputs
    ]
    # d roundings, in another order
    np.testing.assert_allclose(found.input_gram, by_hand, rtol=0, atol=1e-13)
    assert (found.inputs is task.inputs, found.targets is task.targets) == (True, True)
    assert (found.name, found.notes) == (task.name, task.notes)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("law", ["standard", "ntk"])
def test_the_same_trajectory_with_it_and_without(key, bias, law):
    task = gaussian(n_samples=6, n_inputs=10, target="linear")
    network = random_network(key, 10, (7, 5), bias=bias, parametrization=law)
    scheme, record = GradientDescent(Relative(0.5), 0.5, 0.01), Record(["residual"], every=10)
    own, given = (
        simulate(make_system(network, one, coordinates="gram"), scheme, 40, record)["residual"]
        for one in (task, task.with_gram())
    )
    # X X^T by numpy and by XLA: last bits, grown over 40 steps
    np.testing.assert_allclose(given, own, rtol=0, atol=1e-13)
    assert np.abs(np.asarray(own[-1] - own[0])).max() > 0.1


def test_gram_coordinates_take_it_from_the_task(key):
    """So that twice the Gram makes twice the layer's."""
    task = gaussian(n_samples=6, n_inputs=10).with_gram()
    odd = replace(task, input_gram=2 * task.input_gram)
    network = random_network(key, 10, (7,))
    first = [make_system(network, t, coordinates="gram").start.layers[0] for t in (task, odd)]
    np.testing.assert_array_equal(first[1].gram, 2 * first[0].gram)
    np.testing.assert_array_equal(first[1].pre, first[0].pre)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cast_keeps_it(dtype):
    task = gaussian(n_samples=N, n_inputs=D).with_gram()
    cast = task.cast(dtype)
    assert cast.input_gram.dtype == dtype
    np.testing.assert_array_equal(cast.input_gram, task.input_gram.astype(dtype))
    assert gaussian(n_samples=N, n_inputs=D).cast(dtype).input_gram is None


def test_made_in_float64_it_is_at_least_as_accurate_in_float32():
    for seed in range(5):
        task = gaussian(n_samples=N, n_inputs=D, seed=seed)
        task = type(task)(task.inputs + 1.0, task.targets)
        exact = task.inputs @ task.inputs.T
        before = np.asarray(task.with_gram().cast("float32").input_gram, np.float64)
        after = np.asarray(task.cast("float32").with_gram().input_gram, np.float64)
        error, other = (np.abs(one - exact).max() for one in (before, after))
        # rounded once, to half a last place
        assert error <= np.finfo(np.float32).eps / 2 * np.abs(exact).max()
        assert error < other


def test_a_batch_shares_one_gram_in_the_program():
    """No network multiplies the inputs with themselves."""
    task = gaussian(n_samples=6, n_inputs=50)

    def products(task):
        def start(key):
            network = random_network(key, 50, (4,))
            return make_system(network, task, coordinates="gram").start.layers[0].gram

        text = str(jax.make_jaxpr(jax.vmap(start))(jax.random.split(jax.random.key(0), 3)))
        return text.count("dot_general")

    assert products(task.cast("float64").with_gram()) < products(task.cast("float64"))
