"""Decoded lines against a plain loop, straight and round paths, and the ceiling of linearity."""

import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.kernels import (
    line_error,
    path_bend,
    principal_scores,
    principal_share,
    straight_lines,
    target_linearity,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [2, 5, 10])
def test_against_a_plain_loop(count):
    one, two, path = (
        RNG.normal(size=(3, 4)),
        RNG.normal(size=(3, 4)),
        RNG.normal(size=(3, count, 4)),
    )
    curve, off, size = np.zeros(count), 0.0, 0.0
    for p in range(3):
        for k in range(count):
            lam = k / (count - 1)
            for i in range(4):
                line = lam * one[p, i] + (1 - lam) * two[p, i]
                curve[k] += (path[p, k, i] - line) ** 2 / 12
                own = lam * path[p, -1, i] + (1 - lam) * path[p, 0, i]
                off += (path[p, k, i] - own) ** 2 / (3 * count)
        size += sum((path[p, -1, i] - path[p, 0, i]) ** 2 for i in range(4)) / 3
    lines = straight_lines(jnp.asarray(one), jnp.asarray(two), count)
    np.testing.assert_allclose(lines[:, 0], two, rtol=1e-15)
    np.testing.assert_allclose(lines[:, -1], one, rtol=1e-15)
    found = line_error(jnp.asarray(path), lines)
    np.testing.assert_allclose(found.curve, curve, rtol=1e-12)
    np.testing.assert_allclose(found.mean, curve.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.ends, (curve[0] + curve[-1]) / 2, rtol=1e-12)
    half = {2: (0, 1), 5: (2,), 10: (4, 5)}[count]
    np.testing.assert_allclose(found.middle, np.mean(curve[list(half)]), rtol=1e-12)
    np.testing.assert_allclose(path_bend(jnp.asarray(path)), off / size, rtol=1e-12)


def test_a_straight_path_has_no_bend_and_a_half_circle_has_its_own():
    ends = jnp.asarray(RNG.normal(size=(2, 5, 3)))
    straight = straight_lines(ends[0], ends[1], 10)
    assert float(path_bend(straight)) < 1e-30
    angle = np.linspace(0, np.pi, 2001)
    circle = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1)[None])
    # Mean over t in [0, 1] of (cos pi t - 1 + 2 t)^2 + sin(pi t)^2 = 4/3 - 8/pi^2, over 2^2.
    np.testing.assert_allclose(path_bend(circle), 1 / 3 - 2 / np.pi**2, rtol=1e-3)
    # Neither the place nor the size of a path changes it.
    np.testing.assert_allclose(path_bend(3.0 + 7.0 * circle), path_bend(circle), rtol=1e-12)


def test_paths_whose_ends_meet_have_no_bend_to_tell_and_spoil_no_other():
    loop = jnp.asarray(RNG.normal(size=(1, 6, 2))).at[:, -1].set(0.0).at[:, 0].set(0.0)
    assert np.isnan(path_bend(loop))
    other = jnp.asarray(RNG.normal(size=(1, 6, 2)))
    assert np.isfinite(path_bend(jnp.concatenate([loop, other])))


def test_no_features_of_a_rank_exceed_the_ceiling_and_the_leading_ones_reach_it():
    targets = jnp.asarray(RNG.normal(size=(30, 6)) * np.arange(1, 7))
    ceiling = principal_share(targets, 2)
    values = np.linalg.eigvalsh(np.cov(np.asarray(targets).T))[::-1]
    np.testing.assert_allclose(ceiling, values[:2].sum() / values.sum(), rtol=1e-12)
    scores = principal_scores(targets, 2)
    np.testing.assert_allclose(target_linearity(scores, targets).value, ceiling, rtol=1e-12)
    for seed in range(20):
        other = jnp.asarray(np.random.default_rng(seed).normal(size=(30, 2)))
        assert target_linearity(other, targets).value < ceiling
    np.testing.assert_allclose(principal_share(targets, 6), 1.0, rtol=1e-14)
    with pytest.raises(gd.InputError, match="`count` must be 1 to 6"):
        principal_share(targets, 7)
