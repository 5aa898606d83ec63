"""Half fits with opened angles: the cubic form of the loss and the escape of descent."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.planted import cubic_form, escape_time, hessian_matrix, opened_half_fit
from gramdyn.planted._points import gains_of, loss_of, norms_of

TARGET = np.array([[0.0, 1.0, 0.0]])
OPENINGS = [  # gains, and directions in which the angles balance
    ([2.0, -1.0], [1.0, 2.0]),
    ([0.5, 0.5], [1.0, -1.0]),
    ([1.5, 0.5, -1.0], [1.0, 1.0, 2.0]),
    ([0.2, 0.5, 0.3], [1.0, 0.2, -1.0]),
]


@pytest.mark.parametrize(("gains", "direction"), OPENINGS)
def test_loss_is_the_cubic_form(gains: list, direction: list) -> None:
    for size in (0.03, 0.003):
        point = opened_half_fit(gains, size * np.array(direction), TARGET)
        form = cubic_form(*point, TARGET)
        change = loss_of(*point, TARGET) - 0.25
        # the next order is the fifth; then rounding of the loss
        assert change == pytest.approx(form, rel=2 * (2 * size) ** 2, abs=1e-15)
        assert (form > 0) == (min(gains) > 0)


def test_the_map_is_kept_and_gains_move_by_the_square_of_the_angles() -> None:
    hidden, readout = opened_half_fit([2.0, -1.0], [0.01, 0.02], 3.0 * TARGET / 3.0)
    np.testing.assert_allclose(readout.T @ hidden, TARGET, atol=1e-15)
    np.testing.assert_allclose(gains_of(hidden, readout), [2.0, -1.0], atol=3e-4)
    np.testing.assert_allclose(norms_of(hidden), np.abs(readout[:, 0]), rtol=1e-14)


def test_the_form_sees_angles_that_no_cosine_resolves() -> None:
    point = opened_half_fit([2.0, -1.0], [1e-10, 2e-10], TARGET)
    assert cubic_form(*point, TARGET) == pytest.approx(-1e-30 / (3 * np.pi), rel=1e-5)
    scaled = opened_half_fit([4.0, -2.0], [1e-10, 2e-10], 2 * TARGET)
    assert cubic_form(*scaled, 2 * TARGET) == pytest.approx(-4e-30 / (3 * np.pi), rel=1e-5)


def test_the_hessian_has_no_negative_eigenvalue_at_the_saddle_alone() -> None:
    lowest = [
        np.linalg.eigvalsh(hessian_matrix(*opened_half_fit([2, -1], [t, 2 * t], TARGET), TARGET))[0]
        for t in (0.0, 0.01, 0.02)
    ]
    assert lowest[0] > -1e-14
    assert lowest[2] / lowest[1] == pytest.approx(2.0, abs=0.05)  # linear in the angle
    assert lowest[1] < -5e-4


@pytest.mark.parametrize(
    ("gains", "norms", "angle"),
    [([2.0, -1.0], None, 0.02), ([3.0, -2.0], [1.0, 1.0], 0.02), ([2.0, -1.0], [2.0, 0.5], 0.02)],
)
def test_escape_of_descent(gains: list, norms: list | None, angle: float, descend) -> None:
    eta, turn = 0.1, angle * np.array([-gains[1], gains[0]])
    hidden, readout = opened_half_fit(gains, turn, TARGET, norms)
    steps = escape_time(hidden, readout, TARGET) / eta
    path = descend(hidden[None], readout[None], TARGET, eta, int(steps), every=20)
    loss = loss_of(*path, TARGET)[:, 0]
    seen = 20 * (1 + int(np.argmax(loss < 0.125)))
    assert loss[-1] < 0.01
    assert seen == pytest.approx(0.93 * steps, rel=0.07)  # leading order; measured 0.88 to 0.97
    # the growth itself, 1/t falling by eta/c a step, where the angle is small
    row, turned = (a[: int(steps / 60)][-1, 0] for a in path)
    left = escape_time(row, turned, TARGET) / eta
    assert steps - left == pytest.approx(int(steps / 60) * 20, rel=0.1)


def test_escape_of_a_scaled_problem_takes_its_share_of_the_time() -> None:
    hidden, readout = opened_half_fit([2.0, -1.0], [0.02, 0.04], TARGET)
    wanted = escape_time(hidden, readout, TARGET)
    assert wanted == pytest.approx(6 * np.pi / 0.02, rel=1e-3)
    found = escape_time(2 * hidden, 2 * readout, 4 * TARGET)
    assert found == pytest.approx(wanted / 4, rel=1e-14)
    assert escape_time([[0.0, 1.0], [0.0, 2.0]], [[2.0], [-0.5]], [[0.0, 1.0]]) == np.inf


def test_bad_openings_are_refused() -> None:
    for call in (
        lambda: opened_half_fit([2.0, -1.0], [0.1, -0.1], TARGET),
        lambda: opened_half_fit([2.0, -1.0], [0.1], TARGET),
        lambda: opened_half_fit([1.0], [0.0], [[1.0]]),
        lambda: escape_time(np.eye(2, 3), np.ones((2, 1)), TARGET),
        lambda: escape_time(np.eye(3), np.ones((3, 1)), TARGET),
        lambda: cubic_form(np.eye(2, 3), np.full((2, 1), np.nan), TARGET),
    ):
        with pytest.raises(InputError, match="Argument"):
            call()
