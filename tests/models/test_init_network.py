"""Initial laws: variances of every parametrisation, and what a network depends on."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gramdyn._errors import InputError
from gramdyn.models import PARAMETRIZATIONS, Dense, init_network, leaky_relu, linear, relu

LAWS = sorted(PARAMETRIZATIONS)
SCALED = sorted({*LAWS} - {"unscaled", "uniform"})  # whose hidden layers follow fan-in and gain
TIED = ("tied", "unscaled", "uniform")  # whose readout has the scale of the hidden layers


def _law(kind: str, layer: str, fan_in: int, gain: float, sigma: float, alpha: float):
    """(variance of the entries, multiplier) as the docstring's table has them."""
    if kind == "uniform":
        return (sigma * (1.0 if layer == "hidden" else alpha)) ** 2 / (3 * fan_in), None
    if layer == "hidden":
        if kind in ("standard", "tied", "divided"):
            return sigma**2 * gain / fan_in, None
        return sigma**2, None if kind == "unscaled" else math.sqrt(gain / fan_in)
    if kind in ("standard", "divided"):
        return alpha**2 / fan_in, None if kind == "standard" else fan_in**-0.5
    if kind in ("tied", "unscaled"):
        return (alpha * sigma) ** 2 / (fan_in if kind == "tied" else 1), None
    return 1.0, alpha / (math.sqrt(fan_in) if kind == "ntk" else fan_in)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("phi", [relu(), leaky_relu(0.5), linear()], ids=lambda phi: phi.name)
def test_variances_and_multipliers(law: str, phi, key) -> None:
    d, widths, n_outputs, sigma, alpha = 40, (60, 50), 30, 1.5, 0.7
    network = init_network(
        key,
        d,
        widths,
        n_outputs,
        activation=phi,
        parametrization=law,
        weight_scale=sigma,
        output_scale=alpha,
    )
    fans = (d, *widths)
    for layer, fan_in, kind in zip(
        network.layers, fans, ("hidden", "hidden", "readout"), strict=True
    ):
        variance, multiplier = _law(law, kind, fan_in, phi.gain, sigma, alpha)
        entries = np.asarray(layer.weight).ravel()
        # mean and mean square of m Gaussians, four standard errors
        assert abs(entries.mean()) < 4 * math.sqrt(variance / entries.size)
        assert abs(np.mean(entries**2) / variance - 1) < 4 * math.sqrt(2 / entries.size)
        assert (layer.scale is None) == (multiplier is None)
        if multiplier is not None:
            np.testing.assert_allclose(layer.scale, multiplier, rtol=1e-14)
        assert layer.bias is None
    assert [layer.activation.name for layer in network.layers] == [phi.name, phi.name, "linear"]
    assert [layer.weight.shape for layer in network.layers] == [(60, 40), (50, 60), (30, 50)]


@pytest.mark.parametrize("law", SCALED)
def test_activations_keep_their_mean_square(law: str) -> None:
    """What the gain is for: |h^l|^2 / N_l stays near |x|^2 / d, averaged over networks."""
    x = np.random.default_rng(0).normal(size=(4, 30))
    x = jnp.asarray(x * np.sqrt(30) / np.linalg.norm(x, axis=1, keepdims=True))

    def mean_squares(key):
        network = init_network(key, 30, (200, 200, 200), parametrization=law)
        return jnp.stack([jnp.mean(trace.act**2) for trace in network.traces(x)[:-1]])

    found = np.asarray(jax.jit(jax.vmap(mean_squares))(jax.random.split(jax.random.key(1), 100)))
    errors = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - 1) < 4 * errors)


@pytest.mark.parametrize("law", LAWS)
def test_two_draws_of_a_key_are_the_same_and_two_keys_are_not(law: str, key) -> None:
    one, same = (init_network(key, 5, (6, 7), parametrization=law) for _ in range(2))
    other = init_network(jax.random.key(1), 5, (6, 7), parametrization=law)
    for a, b, c in zip(one.layers, same.layers, other.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        assert not np.any(np.asarray(a.weight) == np.asarray(c.weight))


def test_no_two_layers_share_random_numbers(key) -> None:
    """Same shapes, so a key used twice would show."""
    network = init_network(key, 8, (8, 8, 8), 8, parametrization="ntk", train_readout=True)
    entries = [np.asarray(layer.weight).ravel() for layer in network.layers]
    for a, b in itertools.combinations(entries, 2):
        assert not np.intersect1d(a, b).size
        # and they are uncorrelated: four standard errors of 64 products
        assert abs(np.mean(a * b)) < 4 / np.sqrt(64)


def test_parametrisations_share_their_random_numbers(key) -> None:
    """The same function at t = 0 in `standard` and `ntk`, up to rounding."""
    standard, ntk = (
        init_network(key, 5, (6, 7), 2, parametrization=k) for k in ("standard", "ntk")
    )
    for a, b in zip(standard.layers, ntk.layers, strict=True):
        np.testing.assert_allclose(a.weight, b.scale * b.weight, rtol=1e-14)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)))
    np.testing.assert_allclose(standard(x), ntk(x), rtol=1e-12)


def test_scales_scale(key) -> None:
    for law in LAWS:
        one = init_network(key, 5, (6, 7), 2, parametrization=law)
        two = init_network(
            key, 5, (6, 7), 2, parametrization=law, weight_scale=2.0, output_scale=3.0
        )
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)))
        # ReLU, two hidden layers: 2 * 2 * 3, and once more where the readout's is tied to them
        factor = 24.0 if law in TIED else 12.0
        np.testing.assert_allclose(two(x), factor * one(x), rtol=1e-12)


def test_scales_may_be_traced(key) -> None:
    outputs = jax.jit(lambda a: init_network(key, 5, (6,), output_scale=a)(jnp.ones((2, 5))))
    np.testing.assert_allclose(outputs(jnp.asarray(2.0)), 2 * outputs(jnp.asarray(1.0)), rtol=1e-13)


def test_what_trains(key) -> None:
    for trained in (False, True):
        network = init_network(
            key, 5, (6,), 2, parametrization="ntk", bias=True, train_readout=trained
        )
        state, rest = network.partition()
        shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
        assert shapes == {(6, 5), (6,)} | ({(2, 6)} if trained else set())
        # multipliers never do
        assert all(layer.scale is None for layer in state.layers)
        assert [layer.scale is not None for layer in rest.layers] == [True, True]
        np.testing.assert_array_equal(network.layers[0].bias, np.zeros(6))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype(dtype, key) -> None:
    for law in LAWS:
        network = init_network(key, 5, (6,), parametrization=law, bias=True, dtype=dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {jnp.dtype(dtype)}
    assert init_network(key, 5, (6,)).layers[0].weight.dtype == jnp.float64


def test_depth_and_readout(key) -> None:
    network = init_network(key, 5, (6, 7, 8))
    assert network.depth == 3
    assert network.readout is network.layers[-1]


def test_no_hidden_layers_are_a_readout_that_trains(key) -> None:
    for law in LAWS:
        network = init_network(key, 5, (), 3, parametrization=law, train_readout=True)
        assert [layer.weight.shape for layer in network.layers] == [(3, 5)]
        assert [leaf.shape for leaf in jax.tree.leaves(network.partition()[0])] == [(3, 5)]


def test_uniform_entries_and_biases_fill_their_interval(key) -> None:
    network = init_network(
        key, 25, (40, 16), 9, parametrization="uniform", bias=True, readout_bias=True
    )
    drawn = []
    for layer, fan_in in zip(network.layers, (25, 40, 16), strict=True):
        for entries in (layer.weight, layer.bias):
            values = np.ravel(entries) * math.sqrt(fan_in)
            assert np.all(np.abs(values) < 1)
            drawn.append(values)
        assert layer.weight_variance is None
    drawn = np.concatenate(drawn)
    assert len(np.unique(drawn)) == len(drawn)
    assert scipy.stats.kstest(drawn, "uniform", (-1, 2)).pvalue > 1e-3
    plain = init_network(key, 25, (40,), 9, bias=True, readout_bias=True)
    np.testing.assert_array_equal(plain.readout.bias, np.zeros(9))


def test_residual_layers_add_what_enters_them(key) -> None:
    network = init_network(key, 5, (6, 6, 6), 2, residual=True, bias=True)
    assert [layer.skips for layer in network.layers] == [False, True, True, False]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)))
    act = np.asarray(x)
    for i, layer in enumerate(network.layers[:-1]):
        own = np.maximum(act @ np.asarray(layer.weight).T + np.asarray(layer.bias), 0)
        act = own + act if i > 0 else own
    wanted = act @ np.asarray(network.readout.weight).T
    np.testing.assert_allclose(network(x), wanted, atol=1e-13)
    with pytest.raises(InputError, match="be equal in a residual network"):
        init_network(key, 5, (6, 7), residual=True)
    with pytest.raises(InputError, match="be square in a residual layer"):
        Dense(jnp.ones((3, 4)), None, None, relu(), residual=True)


@pytest.mark.parametrize("widths", [(), (0,), (6, -1)])
def test_widths_that_cannot_be_are_refused(widths: tuple, key) -> None:
    with pytest.raises(InputError, match=r"Argument `widths` must hold one whole number"):
        init_network(key, 5, widths)


def test_other_mistakes_are_refused(key) -> None:
    with pytest.raises(InputError, match=r"Unknown parametrization `ntkk`; did you mean `ntk`"):
        init_network(key, 5, (6,), parametrization="ntkk")
    with pytest.raises(InputError, match=r"`n_inputs` must be a whole number of at least 1"):
        init_network(key, 0, (6,))
    with pytest.raises(InputError, match=r"`n_outputs` must be a whole number of at least 1"):
        init_network(key, 5, (6,), 0)
