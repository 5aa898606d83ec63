"""Neural Collapse on an exact simplex, against plain NumPy, and its bound on Target Linearity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels.collapse import linearity_bound, neural_collapse
from gramdyn.kernels.target_linearity import target_linearity


def simplex(n_classes, width, seed=0):
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((width, n_classes)))[0].T
    return (np.eye(n_classes) - 1 / n_classes) @ frame


def spread_out(n_classes=4, width=9, per_class=25, noise=0.4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), per_class)
    centres = rng.standard_normal((n_classes, width)) + 2.0
    features = centres[labels] + noise * rng.standard_normal((len(labels), width))
    return jnp.asarray(features), jnp.asarray(labels), jnp.asarray(centres)


def test_all_vanish_on_a_simplex_with_its_dual():
    corners = simplex(5, 12)
    labels = jnp.asarray(np.repeat(np.arange(5), 7))
    features = jnp.asarray(3.0 * corners)[labels] + 0.5
    found = neural_collapse(features, labels, jnp.asarray(2.0 * corners))
    assert max(map(float, found)) < 1e-7
    hot = jax.nn.one_hot(labels, 5)
    np.testing.assert_allclose(target_linearity(features, hot).value, 1.0, atol=1e-12)


def test_against_plain_numpy():
    features, labels, centres = spread_out()
    weight, bias = centres[:, ::-1], jnp.arange(4.0)
    found = neural_collapse(features, labels, weight, bias, ddof=1)
    h, y = np.asarray(features), np.asarray(labels)
    means = np.stack([h[y == c].mean(0) for c in range(4)])
    apart = means - means.mean(0)
    within = (h - means[y]).T @ (h - means[y]) / len(h)
    between = apart.T @ apart / 4
    assert found.within == pytest.approx(
        np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / 4, rel=1e-10
    )
    assert found.within_ratio == pytest.approx(np.trace(within) / np.trace(between), rel=1e-12)
    norms = np.linalg.norm(apart, axis=1)
    assert found.mean_norms == pytest.approx(norms.std(ddof=1) / norms.mean(), rel=1e-12)
    units = apart / norms[:, None]
    pairs = [abs(units[i] @ units[j] + 1 / 3) for i in range(4) for j in range(4) if i != j]
    assert found.mean_angles == pytest.approx(np.mean(pairs), rel=1e-12)
    w = np.asarray(weight)
    gap = w / np.linalg.norm(w) - apart / np.linalg.norm(apart)
    assert found.duality == pytest.approx(np.sum(gap**2), rel=1e-12)
    nearest = np.argmin(((h[:, None] - means[None]) ** 2).sum(-1), axis=1)
    chosen = np.argmax(h @ w.T + np.asarray(bias), axis=1)
    assert found.disagreement == pytest.approx(np.mean(nearest != chosen))
    gram = apart @ apart.T
    ideal = (np.eye(4) - 0.25) / np.sqrt(3)
    assert found.simplex == pytest.approx(np.linalg.norm(gram / np.linalg.norm(gram) - ideal))


@pytest.mark.parametrize("noise", [0.01, 0.3, 1.0, 5.0])
def test_collapse_bounds_target_linearity_and_gives_it(noise):
    features, labels, centres = spread_out(noise=noise)
    found = neural_collapse(features, labels, centres)
    linearity = target_linearity(features, jax.nn.one_hot(labels, 4))
    assert 1 - linearity.value <= linearity_bound(found.within, 4)
    h, y = np.asarray(features), np.asarray(labels)
    means = np.stack([h[y == c].mean(0) for c in range(4)])
    between = (means - means.mean(0)).T @ (means - means.mean(0)) / 4
    total = np.cov(h.T, ddof=0)
    wanted = np.trace(np.linalg.pinv(total) @ between) / 3
    np.testing.assert_allclose(linearity.value, wanted, atol=1e-10)
