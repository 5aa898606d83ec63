"""Limit kernels against the recursion of infinite width and against random wide networks."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import ACTIVATION_NAMES, SLOPES, random_network

import gramdyn as gd
from gramdyn import InputError, limit_kernels
from gramdyn.models import Dense, Network, make_activation

N, D, C, WIDTH, SEEDS = 4, 5, 2, 256, 200


def _task():
    """Four samples, the last of them zero: there a layer with bias sees 0 and its mask too."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(N, D)) / np.sqrt(D)
    inputs[-1] = 0.0
    return gd.make_task(inputs, rng.normal(size=(N, C)))


def _fields(key, depth: int, *, width: int = WIDTH, coordinates: str = "weights", **options):
    name = options.pop("activation", "relu")
    phi = make_activation(name, 0.3 if name == "leaky_relu" else None)
    network = gd.init_network(key, D, (width,) * depth, C, activation=phi, **options)
    system = gd.make_system(network, _task(), coordinates=coordinates)
    return system.fields(system.initial_state())


def _draws(depth: int, n_draws: int, **options):
    """(kernels of many networks, their limit)."""
    keys = jax.random.split(jax.random.key(depth), n_draws)

    def one(key):
        fields = _fields(key, depth, **options)
        return fields.layer_kernels, fields.limit_kernels

    # in one program: every operation by itself costs a compilation
    kernels, limits = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    return np.asarray(kernels), np.asarray(limits[0])


def _limit(key, depth: int, **options):
    """The limit kernels of one network."""
    return jax.jit(lambda key: _fields(key, depth, **options).limit_kernels)(key)


def _by_recursion(x, depth: int, slope: float, *, sigma: float, alpha: float, bias: float):
    """Kernel of the parametrisation "ntk" with a trained readout, by the forward recursion.

    Theta' = (covariance of the next layer) + bias + gain (masks) Theta, with the two arc-cosine
    kernels as Cho and Saul have them: J_1 / pi and J_0 / pi.
    """
    gain = 2.0 / (1.0 + slope**2)
    plain = gain * x @ x.T / D
    theta = plain + bias
    for layer in range(1, depth + 1):
        cov = sigma**2 * plain
        root = np.sqrt(np.outer(np.diagonal(cov), np.diagonal(cov)))
        t = np.arccos(np.clip(cov / root, -1, 1))
        j_1, j_0 = np.sin(t) + (np.pi - t) * np.cos(t), np.pi - t
        act = slope * cov + (1 - slope) ** 2 * root * j_1 / (2 * np.pi)
        mask = slope + (1 - slope) ** 2 * j_0 / (2 * np.pi)
        last = layer == depth
        size, entries = (alpha**2, 1.0) if last else (gain, sigma**2)
        plain = size * act
        theta = plain + (0.0 if last else bias) + size * entries * mask * theta
    return theta


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize(("depth", "bias"), [(1, False), (2, True), (3, True)])
def test_their_sum_obeys_the_forward_recursion(name: str, depth: int, bias: bool, key) -> None:
    scales = {"weight_scale": 1.3, "output_scale": 0.6}
    options = {"activation": name, "bias": bias, "train_readout": True} | scales
    kernels = _limit(key, depth, width=3, parametrization="ntk", **options)
    found = np.asarray(kernels).sum(axis=0)[:-1, :, :-1]
    x = np.asarray(_task().inputs)[:-1]
    wanted = _by_recursion(x, depth, SLOPES[name], sigma=1.3, alpha=0.6, bias=float(bias))
    wanted = wanted[:, None, :, None] * np.eye(C)[None, :, None, :]
    # arccos near 1 on the diagonal of the recursion
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "law", "depth", "bias", "trained"),
    [
        ("relu", "standard", 1, False, True),
        ("linear", "standard", 2, True, True),
        ("relu", "standard", 3, True, True),
        ("relu", "ntk", 2, True, False),
        ("leaky_relu", "ntk", 3, False, True),
        ("leaky_relu", "mean_field", 2, True, True),
        ("relu", "mean_field", 3, True, False),
    ],
)
def test_mean_kernels_of_wide_networks(name, law, depth, bias, trained) -> None:
    """Z-scores of the mean over networks; the bias at finite width, 1/256, is below a third of one.

    Fixed seeds. 64 entries a layer, correlated: 4.5 standard errors for the largest.
    """
    options = {"activation": name, "parametrization": law, "bias": bias}
    scales = {"weight_scale": 1.2, "output_scale": 0.7}
    kernels, limit = _draws(depth, SEEDS, train_readout=trained, **options, **scales)
    assert kernels.shape[1:] == limit.shape == (depth + trained, N, C, N, C)
    away, error = kernels.mean(axis=0) - limit, kernels.std(axis=0) / np.sqrt(SEEDS)
    size = np.abs(limit).max(axis=(1, 2, 3, 4), keepdims=True)
    fixed = error < 1e-12 * size  # entries without randomness: a kernel that is 0 where x is 0
    assert np.all(np.abs(away)[fixed] <= (1e-12 * size + 0 * away)[fixed])
    z = away[~fixed] / error[~fixed]
    assert np.abs(z).max() < 4.5
    assert np.sqrt(np.mean(z**2)) < 1.6
    # and the test has teeth: a hundredth of the kernel is what it sees
    assert np.median(error[~fixed] / np.broadcast_to(size, away.shape)[~fixed]) < 1e-2


@pytest.mark.parametrize(
    ("depth", "seeds"), [(1, 100), pytest.param(3, 48, marks=pytest.mark.slow)]
)
def test_deviations_fall_like_the_root_of_the_width(depth: int, seeds: int) -> None:
    widths = np.array([64, 256, 1024, 2048])
    found = []
    for width in widths:
        kernels, limit = _draws(depth, seeds, width=int(width), parametrization="ntk")
        away = np.linalg.norm((kernels - limit).reshape(seeds, -1), axis=1)
        found.append(np.sqrt(np.mean(away**2)) / np.linalg.norm(limit))
    slope = np.polyfit(np.log(widths), np.log(found), 1)[0]
    assert -0.6 < slope < -0.4


def test_both_coordinates_every_state_and_every_width_have_the_same(key) -> None:
    """In "ntk" the law has no width in it, and the weights do not enter."""
    options = {"parametrization": "ntk", "bias": True, "train_readout": True}
    one = _limit(key, 2, width=3, **options)
    gram = _limit(jax.random.key(1), 2, width=50, coordinates="gram", **options)
    np.testing.assert_allclose(gram, one, rtol=1e-13, atol=1e-15)
    system = gd.make_system(gd.init_network(key, D, (3, 3), C, **options), _task())
    end = gd.simulate(system, gd.GradientDescent(0.1), 5, gd.Record()).state
    np.testing.assert_allclose(system.fields(end).limit_kernels, one, rtol=1e-13, atol=1e-15)


def test_standard_is_ntk_with_the_size_in_the_input_gram(key) -> None:
    """The same function, but layer l learns at a rate of fan_in / gain instead of 1."""
    standard, ntk = (
        _limit(key, 2, width=7, parametrization=law, train_readout=True)
        for law in ("standard", "ntk")
    )
    rates = np.array([D / 2, 7 / 2, 7.0])[:, None, None, None, None]
    np.testing.assert_allclose(standard, rates * np.asarray(ntk), rtol=1e-13)


def test_only_trained_layers_have_one(key) -> None:
    network = gd.init_network(key, D, (6, 7), parametrization="ntk", train_readout=True)
    gram = jnp.eye(3)
    whole = limit_kernels(network, gram)
    frozen = dataclasses.replace(network.layers[1], trainable=False)
    part = limit_kernels(Network((network.layers[0], frozen, network.layers[2])), gram)
    np.testing.assert_array_equal(part, whole[jnp.array([0, 2])])


def test_scales_may_be_traced_and_runs_batched(key) -> None:
    def kernels(scale):
        network = gd.init_network(key, D, (6,), weight_scale=scale, parametrization="ntk")
        return limit_kernels(network, jnp.eye(3))

    found = jax.jit(jax.vmap(kernels))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(found[1], kernels(2.0), rtol=1e-13)
    wide = jax.eval_shape(lambda: gd.init_network(key, D, (10**6, 10**6)))
    assert wide.layers[1].weight_variance.shape == ()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype(dtype, key) -> None:
    network = gd.init_network(key, D, (6, 7), dtype=dtype, bias=True)
    found = limit_kernels(network, jnp.ones((3, 3), dtype))
    assert found.dtype == dtype
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("law", ["standard", "ntk", "mean_field"])
def test_the_variance_is_that_of_the_entries(law: str, key) -> None:
    scales = {"weight_scale": 1.5, "output_scale": 0.4}
    network = gd.init_network(key, 300, (200, 150), 90, parametrization=law, **scales)
    for layer in network.layers:
        entries = np.asarray(layer.weight).ravel()
        # the mean square of m Gaussians, four standard errors
        ratio = np.mean(entries**2) / float(layer.weight_variance)
        assert abs(ratio - 1) < 4 * np.sqrt(2 / entries.size)


def test_the_variance_never_trains(key) -> None:
    network = gd.init_network(key, D, (6,), train_readout=True)
    for coordinates in ("weights", "gram"):
        system = gd.make_system(network, _task_of_one(), coordinates=coordinates)
        state = system.initial_state()
        velocity = system.velocity(state)
        for tree in (state, velocity):
            assert all(layer.weight_variance is None for layer in tree.layers)
        assert jax.tree.structure(state) == jax.tree.structure(velocity)
    unknown = eqx.tree_at(lambda tree: tree.layers[0].weight_variance, network, None)
    system = gd.make_system(unknown, _task_of_one())
    assert jax.tree.leaves(system.velocity(system.initial_state()))


def _task_of_one():
    return gd.make_task(_task().inputs, np.ones((N, 1)))


def test_unknown_laws_are_refused(key) -> None:
    network, gram = random_network(key, D, (6, 7)), jnp.eye(3)
    with pytest.raises(InputError, match=r"^The initial law of layer 2 is not known .*not padded"):
        limit_kernels(gd.pad_network(network, (6, 9)), gram)
    bare = Dense(network.layers[0].weight, None, None, gd.relu())
    with pytest.raises(InputError, match=r"^The initial law of layer 1 is not known"):
        limit_kernels(Network((bare, *network.layers[1:])), gram)


def test_activations_without_a_closed_form_are_refused(key) -> None:
    tanh = gd.Activation("tanh", jnp.tanh, lambda z: 1 - jnp.tanh(z) ** 2, 1.0, False)
    network = gd.init_network(key, D, (6,), activation=tanh)
    message = r"^Argument `activation` must be one with a `dual` .*relu.*, but is 'tanh'\.$"
    with pytest.raises(InputError, match=message):
        limit_kernels(network, jnp.eye(3))
