"""Thin coordinates: the same trajectory, and the law of the start for every number of inputs."""

import time

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest, norm

from gramdyn._errors import InputError
from gramdyn.planted import READOUT_LAWS, readout_start, thin, thin_start, thin_target
from gramdyn.planted._points import geometry_of, loss_of


@pytest.mark.parametrize(
    ("d", "k", "c", "sigma"), [(40, 5, 2, 1.0), (100, 3, 1, 1e-8), (4, 3, 2, 0.5)]
)
def test_thin_descent_is_full_descent(d: int, k: int, c: int, sigma: float, descend) -> None:
    """500 steps, wide and narrow inputs, also d < C + k."""
    rng = np.random.default_rng(d)
    hidden, readout = sigma / np.sqrt(d) * rng.normal(size=(k, d)), sigma * rng.normal(size=(k, c))
    target = rng.normal(size=(c, d)) / np.sqrt(d)
    found = thin(hidden, target)
    assert found.hidden.shape == (k, c + k)
    full = descend(hidden[None], readout[None], target, 0.1, 500)
    narrow = descend(found.hidden[None], readout[None], found.target, 0.1, 500)
    # rounding of 500 steps; measured 3e-15
    np.testing.assert_allclose(narrow[1][0], full[1][0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.widen(narrow[0][0]), full[0][0], rtol=0, atol=1e-13)
    losses = loss_of(narrow[0], narrow[1], found.target), loss_of(*full, target)
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e-150])
def test_there_and_back_keeps_every_digit_of_a_tiny_start(scale: float) -> None:
    rng = np.random.default_rng(0)
    hidden, target = scale * rng.normal(size=(4, 30)), rng.normal(size=(2, 30))
    found = thin(hidden, target)
    np.testing.assert_allclose(found.widen(found.hidden), hidden, rtol=0, atol=1e-14 * scale)
    np.testing.assert_allclose(found.target @ found.basis.T, target, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(6), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found.target[:, 2:], 0.0)
    np.testing.assert_array_equal(np.triu(found.target, 1), 0.0)


def test_targets_of_unit_rows_stay_and_those_of_low_rank_are_kept() -> None:
    np.testing.assert_array_equal(thin_target(np.eye(2, 50), 3), np.eye(2, 5))
    np.testing.assert_array_equal(thin_target(np.eye(2, 50)[:, ::-1], 3), np.eye(2, 5))
    np.testing.assert_array_equal(thin_target(np.zeros((1, 9)), 2), np.zeros((1, 3)))
    target = np.outer([1.0, -2.0], np.random.default_rng(1).normal(size=20))
    hidden = np.random.default_rng(2).normal(size=(2, 20))
    found = thin(hidden, target)
    pairs = (
        (found.target @ found.target.T, target @ target.T),
        (found.hidden @ found.target.T, hidden @ target.T),
        (found.hidden @ found.hidden.T, hidden @ hidden.T),
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert np.any(thin_target(target, 2) == found.target)


@pytest.mark.parametrize(("d", "k", "c"), [(7, 3, 2), (4, 3, 2), (2, 3, 1), (2, 2, 3), (60, 2, 1)])
def test_start_has_the_law_of_the_full_one(d: int, k: int, c: int) -> None:
    """Norms, angles and overlaps with the target, also for d < C + k and d < C."""
    n = 1500
    narrow = np.stack([thin_start(seed, d, k, c, 2.0) for seed in range(n)])
    wide = 2.0 / np.sqrt(d) * np.random.default_rng(d).normal(size=(n, k, d))
    summaries = []
    for rows, own in ((narrow, min(c, d)), (wide, min(c, d))):
        at = geometry_of(rows)
        rest = rows[..., own if rows is wide else c :]
        overlap = np.sum(rest[:, 0] * rest[:, -1], axis=1)
        ends = at.norms[:, 0], at.norms[:, -1], at.cosine[:, 0, 1], at.cosine[:, 0, -1]
        summaries.append([*ends, overlap, rows[:, -1, own - 1]])
    for one, other in zip(*summaries, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-4
    unused = narrow[..., min(c, d) : c], narrow[..., c + max(min(k, d - c), 0) :]
    assert not any(part.any() for part in unused)


def test_overlaps_are_normal_and_norms_concentrate_at_a_million_inputs() -> None:
    begun = time.perf_counter()
    rows = np.stack([thin_start(seed, 10**6, 3, 1, 1e-8) for seed in range(500)])
    assert time.perf_counter() - begun < 2.0  # whatever the number of inputs; measured 0.03
    assert kstest(rows[..., 0].ravel() / 1e-11, norm.cdf).pvalue > 1e-4
    np.testing.assert_allclose(np.linalg.norm(rows, axis=2), 1e-8, rtol=0.005)


@pytest.mark.parametrize("c", [1, 2])
def test_laws_of_the_readout(c: int) -> None:
    d, k, sigma = 30, 4, 0.1
    rows = [thin_start(seed, d, k, c, sigma) for seed in range(600)]
    sizes = {"chi": 1.0, "balanced": 1.0, "xavier": np.sqrt(c / k), "same": np.sqrt(c / d)}
    for law in READOUT_LAWS:
        found = np.stack([readout_start(s, w, d, c, sigma, law) for s, w in enumerate(rows)])
        size = np.sqrt(np.mean(np.sum(found**2, axis=-1)))
        assert size == pytest.approx(sigma * sizes[law], rel=0.05)  # 2400 neurons
        assert abs(np.mean(np.sign(found))) < 4 / np.sqrt(found.size)
        same = np.allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(rows, axis=-1))
        assert same == (law == "balanced")
    assert readout_start(0, rows[0], d, c, sigma).shape == (k, c)


def test_given_signs_and_seeds() -> None:
    rows = thin_start(3, 20, 2, 1, 0.1)
    np.testing.assert_array_equal(rows, thin_start(3, 20, 2, 1, 0.1))
    assert np.any(rows != thin_start(4, 20, 2, 1, 0.1))
    signs = [-1, 1]
    for law in READOUT_LAWS:
        found = readout_start(3, rows, 20, 1, 0.1, law, signs)
        np.testing.assert_array_equal(np.sign(found[:, 0]), signs)
        drawn = readout_start(3, rows, 20, 1, 0.1, law)
        np.testing.assert_array_equal(np.abs(found), np.abs(drawn))


def test_bad_input_is_refused() -> None:
    rows = np.ones((2, 3))
    for call in (
        lambda: thin(rows, np.ones((1, 4))),
        lambda: thin(np.full((2, 3), np.nan), np.ones((1, 3))),
        lambda: thin(rows, np.ones((1, 3))).widen(np.ones((2, 4))),
        lambda: thin_start(0, 0, 2, 1, 1.0),
        lambda: thin_start(-1, 5, 2, 1, 1.0),
        lambda: thin_start(0, 5, 2, 1, 0.0),
        lambda: readout_start(0, rows, 5, 1, 1.0, "chi", [1, 0]),
        lambda: readout_start(0, rows, 5, 2, 1.0, "chi", [1, -1]),
        lambda: readout_start(0, rows, 5, 1, 1.0, "uniform"),
    ):
        with pytest.raises(InputError):
            call()
