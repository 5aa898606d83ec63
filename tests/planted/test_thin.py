"""Thin coordinates: the same trajectory, there and back."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.planted import loss_of, thin, thin_target


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


def test_bad_input_is_refused() -> None:
    rows = np.ones((2, 3))
    for call in (
        lambda: thin(rows, np.ones((1, 4))),
        lambda: thin(np.full((2, 3), np.nan), np.ones((1, 3))),
        lambda: thin(rows, np.ones((1, 3))).widen(np.ones((2, 4))),
    ):
        with pytest.raises(InputError):
            call()
