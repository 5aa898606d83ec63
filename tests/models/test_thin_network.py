"""Starts in thin coordinates: the law of the full start, for every number of inputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest, norm
from support.marks import with_long
from support.planted_starts import drawn

from gramdyn._errors import InputError
from gramdyn.models import READOUT_LAWS, thin_network, widen

# Lengths by chi-squared, and normal entries; the others are for the long tests.
SOME_LAWS = with_long(READOUT_LAWS, ("balanced", "xavier"))


def geometry(rows):
    """Norms and cosines of the rows."""
    norms = np.linalg.norm(rows, axis=-1)
    units = rows / np.where(norms > 0, norms, 1.0)[..., None]
    return norms, units @ np.swapaxes(units, -1, -2)


@pytest.mark.parametrize(("d", "k", "c"), [(7, 3, 2), (4, 3, 2), (2, 3, 1), (2, 2, 3), (60, 2, 1)])
def test_start_has_the_law_of_the_full_one(d, k, c):
    """Norms, angles and overlaps with the target, also for d < C + k and d < C."""
    n = 1500
    narrow, _ = drawn(n, k, c, 2.0, d=d)
    wide = 2.0 / np.sqrt(d) * np.random.default_rng(d).normal(size=(n, k, d))
    own, summaries = min(c, d), []
    for rows, begin in ((narrow, c), (wide, own)):
        norms, cosine = geometry(rows)
        rest = rows[..., begin:]
        overlap = np.sum(rest[:, 0] * rest[:, -1], axis=1)
        ends = norms[:, 0], norms[:, -1], cosine[:, 0, 1], cosine[:, 0, -1]
        summaries.append([*ends, overlap, rows[:, -1, own - 1]])
    for one, other in zip(*summaries, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-4
    unused = narrow[..., own:c], narrow[..., c + max(min(k, d - c), 0) :]
    assert not any(part.any() for part in unused)


def test_a_single_input():
    """Then w is one number, and whatever else would be there is 0."""
    rows, turned = drawn(2000, 2, 1, 1.0, d=1, law="balanced")
    assert kstest(rows[:, 0, 0], norm.cdf).pvalue > 1e-4
    assert not rows[..., 1:].any()
    np.testing.assert_allclose(np.abs(turned[..., 0]), np.abs(rows[..., 0]), rtol=1e-12)


def test_overlaps_are_normal_and_norms_concentrate_at_a_million_inputs():
    rows, _ = drawn(500, 3, 1, 1e-8, d=10**6)
    assert kstest(rows[..., 0].ravel() / 1e-11, norm.cdf).pvalue > 1e-4
    np.testing.assert_allclose(np.linalg.norm(rows, axis=2), 1e-8, rtol=0.005)


@pytest.mark.parametrize("c", [1, 2])
@pytest.mark.parametrize("law", READOUT_LAWS)
def test_laws_of_the_readout(law, c):
    d, k, sigma = 30, 4, 0.1
    rows, found = drawn(600, k, c, sigma, d=d, law=law)
    sizes = {"chi": 1.0, "balanced": 1.0, "xavier": np.sqrt(c / k), "same": np.sqrt(c / d)}
    size = np.sqrt(np.mean(np.sum(found**2, axis=-1)))
    assert size == pytest.approx(sigma * sizes[law], rel=0.05)  # 2400 neurons
    assert abs(np.mean(np.sign(found))) < 4 / np.sqrt(found.size)
    norms = np.linalg.norm(rows, axis=-1), np.linalg.norm(found, axis=-1)
    assert np.allclose(*norms, rtol=1e-12) == (law == "balanced")
    if law == "chi":  # the law of |w|, drawn apart from it
        assert ks_2samp(norms[0].ravel(), norms[1].ravel()).pvalue > 1e-4
        assert abs(np.corrcoef(norms[0].ravel(), norms[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("law", SOME_LAWS)
def test_a_key_means_the_same_numbers_for_every_number_of_inputs_and_scale(law):
    """Normal numbers and signs; lengths by chi-squared depend on d."""
    one, other = (drawn(5, 3, 1, sigma, d=d, law=law) for d, sigma in ((50, 1.0), (5000, 1e-8)))
    np.testing.assert_allclose(one[0][..., 0] * 10, other[0][..., 0] * 1e8 * 100, rtol=1e-12)
    ratio = other[0][:, 1, 1] / one[0][:, 1, 1]  # below the diagonal
    np.testing.assert_allclose(ratio, 1e-9, rtol=1e-12)
    np.testing.assert_array_equal(np.sign(one[1]), np.sign(other[1]))
    assert np.any(one[0][0] != one[0][1])


@pytest.mark.parametrize("law", SOME_LAWS)
def test_given_signs_change_signs_alone(law):
    """Sizes to the last bit or so: two programs may round a quotient differently."""
    _, found = drawn(50, 2, 1, 0.1, law=law, signs=(-1, 1))
    np.testing.assert_array_equal(np.sign(found[..., 0]), np.broadcast_to([-1, 1], (50, 2)))
    plain = drawn(50, 2, 1, 0.1, law=law)[1]
    np.testing.assert_allclose(np.abs(found), np.abs(plain), rtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("c", [1, 2])
def test_a_key_means_the_same_numbers_for_every_law(c):
    """The same W and directions of V; xavier and same are the same normal numbers, scaled."""
    d, k = 30, 4
    starts = {law: drawn(20, k, c, 0.1, d=d, law=law) for law in READOUT_LAWS}
    rows, turned = starts["chi"]
    directions = turned / np.linalg.norm(turned, axis=-1, keepdims=True)
    for hidden, readout in starts.values():
        np.testing.assert_allclose(hidden, rows, rtol=1e-14)
        along = np.sum(readout * directions, axis=-1)
        np.testing.assert_allclose(along, np.linalg.norm(readout, axis=-1), rtol=1e-14)
    scaled = starts["xavier"][1] * np.sqrt(k), starts["same"][1] * np.sqrt(d)
    np.testing.assert_allclose(*scaled, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_layers_and_traced_numbers(dtype):
    build = functools.partial(thin_network, jax.random.key(3), width=3, n_outputs=2, dtype=dtype)
    network = build(20, sigma=0.5)
    assert [layer.weight.shape for layer in network.layers] == [(3, 5), (2, 3)]
    assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {jnp.dtype(dtype)}
    assert all(layer.trainable for layer in network.layers)
    traced = jax.jit(lambda d, sigma: build(d, sigma=sigma))(jnp.asarray(20.0), jnp.asarray(0.5))
    for one, two in zip(jax.tree.leaves(network), jax.tree.leaves(traced), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5 if dtype == jnp.float32 else 1e-12)


@pytest.mark.parametrize("law", READOUT_LAWS)
def test_a_batch_over_inputs_and_scales_is_each_start_alone(law):
    """d below, at and far above C + k = 5 in one program; rounding of another program."""
    build = functools.partial(thin_network, jax.random.key(5), width=3, n_outputs=2, law=law)
    inputs, scales = (1, 2, 3, 5, 10**6), (1.0, 0.5, 1e-8, 1e-16, 2.0)
    stacked = jax.vmap(lambda d, sigma: build(d, sigma=sigma))(
        jnp.asarray(inputs, jnp.float64), jnp.asarray(scales)
    )
    for i, (d, sigma) in enumerate(zip(inputs, scales, strict=True)):
        alone = build(d, sigma=sigma)
        # The variance of the entries of W, which kernels at infinite width read.
        np.testing.assert_allclose(alone.layers[0].weight_variance, sigma**2 / d, rtol=1e-14)
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(stacked), strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-12)


@pytest.mark.parametrize("d", [2, 3, 5, 40])
def test_widened_networks_compute_the_same_function(d):
    network = thin_network(jax.random.key(0), d, 3, 2)
    wide = widen(network, d)
    assert wide.layers[0].weight.shape == (3, d)
    inputs = jax.random.normal(jax.random.key(1), (7, d))
    seen = jnp.pad(inputs, ((0, 0), (0, max(0, 5 - d))))[:, :5]
    np.testing.assert_allclose(wide(inputs), network(seen), atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"width": 0}, "width"),
        ({"n_outputs": 0}, "n_outputs"),
        ({"law": "uniform"}, "Unknown law `uniform`"),
        ({"signs": (1, 0)}, "be 2 numbers of 1 or -1"),
        ({"signs": (1,)}, "be 2 numbers of 1 or -1"),
        ({"signs": (1, -1), "n_outputs": 2}, "left out for several outputs"),
    ],
)
def test_refusals(changes, told):
    with pytest.raises(InputError, match=told):
        thin_network(jax.random.key(0), 5, **{"width": 2, **changes})
