"""Padded networks are the network itself: outputs, kernels, whole trajectories."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import random_network

from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, Optax, simulate
from gramdyn.models import pad_network
from gramdyn.systems import make_system

N, D, OWN, PADDED = 6, 5, (7, 4), (9, 8)
KEPT = ["residual", "layer_kernels", "conj_grams", "flips"]

CASES = (
    # activation, law, bias, trained readout, outputs, scheme, coordinates
    ("relu", "standard", False, False, 1, GradientDescent(0.02), "gram"),
    ("relu", "ntk", True, True, 2, GradientDescent(0.02, 0.9, 0.01), "weights"),
    ("leaky_relu", "mean_field", True, True, 1, GradientDescent(0.1, 0.5), "gram"),
    ("linear", "ntk", False, True, 2, GradientDescent(0.01), "gram"),
    ("leaky_relu", "standard", True, True, 2, Optax("adam", 0.01), "weights"),
    ("linear", "standard", True, True, 1, Optax("adamw", 0.01), "weights"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{type(c[5]).__name__}")
def test_padded_trajectories(case: tuple) -> None:
    activation, law, bias, trained, n_outputs, scheme, coordinates = case
    network = random_network(
        jax.random.key(1),
        D,
        OWN,
        n_outputs,
        activation=activation,
        parametrization=law,
        bias=bias,
        train_readout=trained,
    )
    padded = pad_network(network, PADDED)
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=n_outputs, seed=3)
    x = jnp.asarray(task.inputs)
    # zeros added to the same sums, perhaps in another order
    np.testing.assert_allclose(padded(x), network(x), rtol=1e-13, atol=1e-15)
    systems = [make_system(one, task, coordinates=coordinates) for one in (network, padded)]
    plain, wide = (simulate(system, scheme, 40, Record(KEPT, every=10)) for system in systems)
    for name in KEPT:
        size = np.abs(np.asarray(plain[name])).max()
        # forty steps of the last bit
        np.testing.assert_allclose(wide[name], plain[name], rtol=1e-13, atol=1e-13 * size)
    assert np.abs(np.asarray(plain["residual"][-1] - plain["residual"][0])).max() > 1e-2
    # the padded neurons are where they were: exactly zero weights in and out
    end = systems[1].network(wide.state).layers
    if coordinates == "weights":
        np.testing.assert_array_equal(end[0].weight[OWN[0] :], 0.0)
    else:
        np.testing.assert_array_equal(wide.state.layers[0].pre[:, OWN[0] :], 0.0)
    np.testing.assert_array_equal(end[1].weight[OWN[1] :], 0.0)
    np.testing.assert_array_equal(end[1].weight[:, OWN[0] :], 0.0)
    np.testing.assert_array_equal(end[2].weight[:, OWN[1] :], 0.0)
    if bias:
        np.testing.assert_array_equal(end[1].bias[OWN[1] :], 0.0)


def test_padding_to_the_own_widths_changes_nothing() -> None:
    network = random_network(jax.random.key(1), D, OWN, bias=True)
    same = pad_network(network, OWN)
    assert eqx.tree_equal(same, network)


def test_multipliers_stay_those_of_the_true_widths() -> None:
    network = random_network(jax.random.key(1), D, OWN, parametrization="ntk")
    padded = pad_network(network, PADDED)
    for found, wanted in zip(padded.layers, network.layers, strict=True):
        assert float(found.scale) == float(wanted.scale)
    assert [layer.weight.shape for layer in padded.layers] == [(9, 5), (8, 9), (1, 8)]


@pytest.mark.parametrize("widths", [(6, 8), (9, 3), (9,), (9, 8, 8)])
def test_misfits_are_refused(widths: tuple) -> None:
    network = random_network(jax.random.key(1), D, OWN)
    with pytest.raises(InputError, match=r"Argument `widths` must be at least \(7, 4\)"):
        pad_network(network, widths)


def test_layers_in_gram_coordinates_are_refused() -> None:
    network = random_network(jax.random.key(1), D, OWN)
    system = make_system(network, gaussian(n_samples=N, n_inputs=D), coordinates="gram")
    with pytest.raises(InputError, match=r"Argument `network` must have dense layers"):
        pad_network(system.start, PADDED)
