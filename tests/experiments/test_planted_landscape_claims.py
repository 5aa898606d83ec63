"""What the claims on a planted map's landscape rest on, reached a second way."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from gramdyn.experiments.planted_escape import opened
from gramdyn.experiments.planted_starts import descend_from
from gramdyn.planted import gradient_of, half_fit, loss_of

TARGET = np.eye(1, 3)


def plain_descent(hidden, readout, step_size, n_steps):
    """Losses of a plain loop with the gradient on the host, the start first."""
    losses = [float(loss_of(hidden, readout, TARGET))]
    for _ in range(n_steps):
        by_hidden, by_readout = gradient_of(hidden, readout, TARGET)
        hidden, readout = hidden - step_size * by_hidden, readout - step_size * by_readout
        losses.append(float(loss_of(hidden, readout, TARGET)))
    return np.asarray(losses)


def test_descent_from_given_weights_is_a_plain_loop():
    hidden, readout = opened(0.1)
    run = descend_from(
        hidden[None], readout[None], TARGET[:, :1], step_size=0.1, n_steps=2000, every=1
    )
    plain = plain_descent(hidden, readout, 0.1, 2000)
    # Rounding of 1e-16 a step, amplified while the saddle is left.
    np.testing.assert_allclose(np.asarray(run["loss"])[0], plain, atol=1e-10)
    assert abs(int(np.argmax(plain < 0.125)) - 1550) <= 50  # as measured apart from this package


@pytest.mark.parametrize("angle", [0.5, 1.5, np.pi])
def test_curvature_at_a_dead_neuron_is_that_of_psi(angle):
    hidden, readout = half_fit([1.0], TARGET, n_dead=1)
    size = 1e-3
    row, turned = np.zeros((2, 3)), np.zeros((2, 1))
    row[1], turned[1] = [np.cos(angle), np.sin(angle), 0.0], -1.0
    move = size / np.sqrt(2)
    moved = float(loss_of(hidden + move * row, readout + move * turned, TARGET))
    psi = (np.sin(angle) - angle * np.cos(angle)) / (2 * np.pi)
    # One-sided, since the loss is not twice differentiable; the next term is size^2 / 8.
    assert 2 * (moved - 0.25) / size**2 == pytest.approx(-psi, abs=1e-6)


def test_roots_of_two_neurons_with_two_outputs_lie_on_known_levels():
    target, rng = np.eye(2), np.random.default_rng(0)

    def split(flat):
        return flat[:4].reshape(2, 2), flat[4:].reshape(2, 2)

    def slope(flat):
        return np.concatenate([part.ravel() for part in gradient_of(*split(flat), target)])

    roots = [least_squares(slope, rng.standard_normal(8), xtol=1e-15) for _ in range(40)]
    losses = [float(loss_of(*split(one.x), target)) for one in roots if abs(one.fun).max() < 1e-9]
    # The last one is known to four digits. Not every level has to be met.
    gaps = np.abs(np.asarray(losses)[:, None] - np.asarray([1.0, 0.75, 0.5, 0.4418]))
    assert len(losses) >= 20
    assert gaps.min(axis=1).max() < 1e-4
