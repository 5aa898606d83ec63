"""Balanced starts: their map, what they conserve, their frames, and modes that go alone."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import linear_map, task_moments
from gramdyn.deep_linear import mode_solution
from gramdyn.diagnostics import Record
from gramdyn.dynamics import RungeKutta4, simulate
from gramdyn.kernels.linear import conserved_quantities
from gramdyn.models import init_network, linear
from gramdyn.models.balanced import along_modes, balance
from gramdyn.models.init import Padded, layer_stds
from gramdyn.systems.make import make_moment_system

# d, hidden widths, C
WIDTHS = ((4, (), 3), (4, (6,), 3), (5, (2,), 4), (3, (4, 7), 5), (6, (3, 5, 2), 4), (2, (3, 3), 2))
by_widths = pytest.mark.parametrize("widths", WIDTHS, ids=lambda widths: str(widths))


def gaussian_network(widths, seed=0, **options):
    d, hidden, c = widths
    options = {"activation": linear(), "train_readout": True} | options
    return init_network(jax.random.key(seed), d, hidden, c, **options)


def weights_of(network):
    return [np.asarray(layer.weight) for layer in network.layers]


def map_of(network):
    weights = weights_of(network)
    return functools.reduce(lambda below, one: one @ below, weights[1:], weights[0])


def frames(widths, seed=1):
    """Orthonormal columns at outputs and inputs."""
    d, _, c = widths
    rng = np.random.default_rng(seed)
    k = min(c, d)
    return [jnp.asarray(np.linalg.qr(rng.normal(size=(n, k)))[0]) for n in (c, d)]


def narrowest(widths):
    d, hidden, c = widths
    return min(d, c, *hidden) if hidden else min(d, c)


def assert_balanced(network):
    for found in conserved_quantities([layer.weight for layer in network.layers]):
        np.testing.assert_allclose(found, np.zeros(found.shape), atol=1e-14)


@by_widths
def test_a_balanced_network_has_the_map_of_the_gaussian_one(widths) -> None:
    network = gaussian_network(widths)
    found = balance(network)
    np.testing.assert_allclose(map_of(found), map_of(network), atol=1e-14)
    assert_balanced(found)
    n_layers, rank = len(widths[1]) + 1, narrowest(widths)
    entries = np.linalg.svd(map_of(network))[1][:rank] ** (1 / n_layers)
    for new, old in zip(found.layers, network.layers, strict=True):
        assert new.weight.shape == old.weight.shape
        assert (new.trainable, new.scale, new.bias) == (True, None, None)
        values = np.linalg.svd(np.asarray(new.weight))[1]
        np.testing.assert_allclose(values[:rank], entries, rtol=1e-12)
        np.testing.assert_allclose(values[rank:], 0, atol=1e-14)


@pytest.mark.parametrize("n_modes", [1, 2])
def test_a_narrower_one_has_the_best_map_of_its_rank(n_modes) -> None:
    network = gaussian_network((4, (6, 5), 3))
    found = balance(network, n_modes)
    left, values, right = np.linalg.svd(map_of(network), full_matrices=False)
    best = (left[:, :n_modes] * values[:n_modes]) @ right[:n_modes]
    np.testing.assert_allclose(map_of(found), best, atol=1e-14)
    assert_balanced(found)


@by_widths
def test_modes_are_where_they_are_put(widths) -> None:
    left, right = frames(widths)
    n_layers, rank, k = len(widths[1]) + 1, narrowest(widths), left.shape[1]
    entries = jnp.asarray(np.linspace(0.9, 0.3, k))
    for given in (entries, 0.7):
        found = along_modes(gaussian_network(widths), left, given, right)
        strengths = np.broadcast_to(np.asarray(given), k)[:rank] ** n_layers
        wanted = np.asarray(left)[:, :rank] * strengths @ np.asarray(right)[:, :rank].T
        np.testing.assert_allclose(map_of(found), wanted, atol=1e-14)
        assert_balanced(found)


def frames_of(network, right, entry):
    """Q_l of each hidden node, from W_l ... W_1 V = entry^l Q_l."""
    rows, found = right, []
    for i, layer in enumerate(network.layers[:-1]):
        rows = layer.weight @ rows
        found.append(rows / entry ** (i + 1))
    return found


def test_hidden_frames_prefer_no_direction() -> None:
    """Over keys: entries have mean 0, squares mean 1/N, columns are orthonormal."""
    left, right = frames((3, (), 3))

    def drawn(key):
        network = init_network(key, 3, (4, 3), 3, activation=linear(), train_readout=True)
        return frames_of(along_modes(network, left, 0.5, right), right, 0.5)

    runs = 4000
    for found in jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(3), runs)):
        found = np.asarray(found)
        width = found.shape[1]
        grams = np.einsum("bni,bnj->bij", found, found)
        np.testing.assert_allclose(grams, np.broadcast_to(np.eye(3), grams.shape), atol=1e-13)
        # entries have variance 1/N, their squares less than 2/N^2: five standard errors
        assert np.abs(found.mean(axis=0)).max() < 5 / np.sqrt(runs * width)
        assert np.abs((found**2).mean(axis=0) - 1 / width).max() < 5 * np.sqrt(2 / runs) / width


def test_balanced_frames_prefer_no_direction_either() -> None:
    """W_1 = Q_1 D V^T is as likely with any rotation of Q_1: its entries have mean 0."""

    def drawn(key):
        network = init_network(key, 3, (4,), 3, activation=linear(), train_readout=True)
        return balance(network).layers[0].weight

    found = np.asarray(jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(3), 4000)))
    error = found.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0)) < 5 * error)
    squares = (found**2).sum(axis=2)
    error = squares.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(squares.mean(axis=0) - squares.mean()) < 5 * error)


@pytest.mark.parametrize("n_layers", [2, 3])
def test_each_mode_goes_alone(n_layers) -> None:
    """Aligned start on a turned target: every mode follows its own closed form."""
    sigmas = (3.0, 2.0, 0.7)
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=sigmas, rotate=True, seed=2)
    moments = task_moments(task)
    starts = np.array([0.3, 0.5, 0.2])
    network = gaussian_network((4, (5, 3)[: n_layers - 1], 3))
    entries = jnp.asarray(starts ** (1 / n_layers))
    network = along_modes(network, jnp.asarray(moments.left), entries, jnp.asarray(moments.right))
    system = make_moment_system(network, moments)
    result = simulate(system, RungeKutta4(0.004), 500, Record(["learned_modes"], every=25))
    times = 0.004 * result.steps
    for i, (sigma, start) in enumerate(zip(sigmas, starts, strict=True)):
        wanted = mode_solution(n_layers, sigma, float(start), times)
        # order four: (0.004 times the fastest rate)^4
        np.testing.assert_allclose(sigma * result["learned_modes"][:, i], wanted, rtol=1e-8)
    np.testing.assert_allclose(result["off_diagonal"], 0, atol=1e-13)


@pytest.mark.parametrize("hidden", [(2, 3), (4, 1), (3, 3)])
def test_filled_up_it_is_the_network_of_its_own_width(hidden) -> None:
    """Its own block to the last bits, zeros around it, exactly."""
    d, wide, c = 5, (4, 6), 3
    left, right = frames((d, (), c))
    padded = Padded(
        np.asarray(hidden, np.int32),
        np.asarray(layer_stds((d, *hidden), linear(), "standard")),
    )
    own = gaussian_network((d, hidden, c))
    filled = gaussian_network((d, wide, c), padded=padded)
    for start in (
        lambda network, n: balance(network, n),
        lambda network, n: along_modes(network, left, 0.6, right, n),
    ):
        alone, found = start(own, None), start(filled, min(hidden))
        for one, other in zip(weights_of(alone), weights_of(found), strict=True):
            rows, columns = one.shape
            np.testing.assert_allclose(other[:rows, :columns], one, rtol=0, atol=2e-15)
            assert not np.any(other[rows:])
            assert not np.any(other[:, columns:])


@pytest.mark.parametrize("law", ["ntk", "mean_field"])
def test_multipliers_are_refused(law) -> None:
    network = gaussian_network((4, (3,), 2), parametrization=law)
    left, right = frames((4, (), 2))
    told = "`network` must have dense layers without multipliers, but is "
    for start in (lambda: balance(network), lambda: along_modes(network, left, 0.5, right)):
        with pytest.raises(InputError, match=told) as caught:
            start()
        assert "\n" not in str(caught.value)


def test_a_readout_that_does_not_train_is_placed_all_the_same() -> None:
    network = gaussian_network((4, (5,), 3), train_readout=False)
    found = balance(network)
    np.testing.assert_allclose(map_of(found), map_of(network), atol=1e-14)
    assert not found.layers[-1].trainable
    weights = weights_of(found)
    for low, up in itertools.pairwise(weights):
        np.testing.assert_allclose(up.T @ up, low @ low.T, atol=1e-14)


def test_dtype_is_that_of_the_network() -> None:
    network = gaussian_network((4, (5, 3), 3), dtype=jnp.float32)
    left, right = (frame.astype(jnp.float32) for frame in frames((4, (), 3)))
    for found in (balance(network), along_modes(network, left, 0.5, right, jnp.int32(2))):
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
