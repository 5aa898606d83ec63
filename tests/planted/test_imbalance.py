"""Imbalance of neurons along descent: the exact step, the bound, the drift with the step size."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.planted import (
    hessian_matrix,
    imbalance,
    imbalance_bound,
    imbalance_increment,
)
from gramdyn.planted._points import gradient_of, loss_of

TARGET = np.eye(1, 5)


def _starts(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 0.5 * rng.normal(size=(n, 4, 5)) / np.sqrt(5), 0.25 * rng.normal(size=(n, 4, 1))


def test_every_step_changes_it_by_the_squares_of_the_gradients(descend) -> None:
    eta, (hidden, readout) = 0.1, _starts(3)
    path = descend(hidden, readout, TARGET, eta, 300, every=1)
    rows = np.concatenate([hidden[None], path[0]])
    turned = np.concatenate([readout[None], path[1]])
    found = imbalance_increment(*gradient_of(rows[:-1], turned[:-1], TARGET), eta)
    # rounding of numbers of order one
    np.testing.assert_allclose(np.diff(imbalance(rows, turned), axis=0), found, rtol=0, atol=2e-15)


def test_drift_stays_below_its_bound_and_is_linear_in_the_step(descend) -> None:
    hidden, readout = _starts(10)
    before, drifts = imbalance(hidden, readout), []
    for eta in (0.1, 0.05):
        rows, turned = descend(hidden, readout, TARGET, eta, int(100 / eta), every=int(10 / eta))
        drift = np.abs(imbalance(rows[-1], turned[-1]) - before)
        drifts.append(np.max(drift))
        losses = loss_of(hidden, readout, TARGET), loss_of(rows[-1], turned[-1], TARGET)
        for i in range(10):
            seen = [
                np.linalg.eigvalsh(hessian_matrix(w[i], v[i], TARGET))[-1]
                for w, v in zip(rows, turned, strict=True)
            ]
            bound = imbalance_bound(float(losses[0][i]), float(losses[1][i]), eta, float(max(seen)))
            assert np.sum(drift[i]) < bound
    assert drifts[1] / drifts[0] == pytest.approx(0.5, abs=0.02)


def test_the_step_is_exact_for_samples_too() -> None:
    rng = np.random.default_rng(1)
    x, (hidden, readout), eta = rng.normal(size=(40, 5)), (a[0] for a in _starts(1)), 0.3
    z = x @ hidden.T
    error = np.maximum(z, 0) @ readout - x @ TARGET.T
    slopes = ((error @ readout.T) * (z > 0)).T @ x / 40, np.maximum(z, 0).T @ error / 40
    after = imbalance(hidden - eta * slopes[0], readout - eta * slopes[1])
    wanted = after - imbalance(hidden, readout)
    np.testing.assert_allclose(imbalance_increment(*slopes, eta), wanted, rtol=0, atol=1e-15)


def test_shapes_and_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="Argument `readout` must"):
        imbalance(np.ones((2, 3)), np.ones((3, 1)))
    with pytest.raises(InputError, match="Argument `curvature` must"):
        imbalance_bound(1.0, 0.5, 0.1, 20.0)
    with pytest.raises(InputError, match="Argument `last_loss` must"):
        imbalance_bound(0.5, 1.0, 0.1, 2.0)
