"""Members of the stationary sets: their gradient, level and kind."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.planted import classify, global_minimum, half_fit, kinds, paired_minimum, plateau
from gramdyn.planted._points import gradient_of, loss_of

TARGET = np.array([[0.3, -0.4, 1.2]])
SIZE = 1.3
MEMBERS = {
    "pair": (global_minimum([SIZE], [-SIZE], TARGET), 0.0, "global_min"),
    "mixed": (
        global_minimum([2 * SIZE, -SIZE], [-0.4 * SIZE, -0.6 * SIZE], TARGET),
        0.0,
        "global_min",
    ),
    "lone": (half_fit([SIZE], TARGET), 0.25, "spurious_min"),
    "equal": (
        half_fit([-0.2 * SIZE, -0.8 * SIZE], TARGET, opposite=True, norms=[2.0, 0.3]),
        0.25,
        "spurious_min",
    ),
    "unequal": (half_fit([2 * SIZE, -SIZE], TARGET), 0.25, "nonstrict_saddle"),
    "dead": (half_fit([SIZE], TARGET, n_dead=2), 0.25, "half_fit_escapable"),
    "dead and mixed": (half_fit([2 * SIZE, -SIZE], TARGET, n_dead=1), 0.25, "half_fit_escapable"),
    "plateau": (plateau(np.eye(4, 3) - 0.3, TARGET), 0.5, "plateau"),
    "zero": (plateau(np.zeros((2, 3)), TARGET), 0.5, "plateau"),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_members_have_their_level_and_kind_and_no_gradient(name: str) -> None:
    (hidden, readout), level, kind = MEMBERS[name]
    for slope in gradient_of(hidden, readout, TARGET):
        np.testing.assert_allclose(slope, 0.0, atol=1e-15)
    assert loss_of(hidden, readout, TARGET) == pytest.approx(level * SIZE**2, abs=1e-15)
    found = classify(hidden, readout, TARGET)
    assert found.kind == kind
    assert found.loss == pytest.approx(level, abs=1e-15)
    assert found.gradient_norm < 1e-15
    strict = kind == "plateau" and name != "zero"  # the rows of dead neurons are 0 by convention
    assert (found.smallest_eigenvalue < -0.1) == strict


def test_the_kind_does_not_depend_on_the_size_of_the_target() -> None:
    for (hidden, readout), _, kind in MEMBERS.values():
        for scale in (1e-4, 1e4):
            root = np.sqrt(scale)
            assert kinds(root * hidden, root * readout, scale * TARGET) == kind


def test_many_points_at_once() -> None:
    pairs = [MEMBERS[name] for name in ("pair", "equal", "unequal")]
    hidden = np.stack([point[0] for point, _, _ in pairs])
    readout = np.stack([point[1] for point, _, _ in pairs])
    wanted = [kind for _, _, kind in pairs]
    assert list(kinds(hidden, readout, TARGET)) == wanted
    moved = kinds(hidden + 0.01, readout, TARGET)
    assert set(moved) == {"not_stationary"}


def test_a_point_beside_its_set_is_not_stationary() -> None:
    target = np.array([[1.0, 0.0]])
    hidden, readout = half_fit([1.0], target)
    found = classify(hidden, readout * 1.2, target)
    assert found.kind == "not_stationary"
    assert found.gradient_norm > 0.01


@pytest.mark.parametrize("ratios", [None, [1.0, 0.5, 3.0]])
def test_pairs_represent_their_map(ratios: list | None) -> None:
    rng = np.random.default_rng(0)
    hidden, readout, target = paired_minimum(
        rng.normal(size=(3, 5)), rng.normal(size=(3, 2)), ratios
    )
    assert loss_of(hidden, readout, target) == pytest.approx(0.0, abs=1e-14)
    x = rng.normal(size=(20, 5))
    out = np.maximum(x @ hidden.T, 0) @ readout
    np.testing.assert_allclose(out, x @ target.T, atol=1e-13)
    for slope in gradient_of(hidden, readout, target):
        np.testing.assert_allclose(slope, 0.0, atol=1e-14)


def test_half_fits_fit_one_half_of_the_inputs() -> None:
    hidden, readout = MEMBERS["unequal"][0]
    x = np.random.default_rng(1).normal(size=(50, 3))
    out = np.maximum(x @ hidden.T, 0) @ readout
    np.testing.assert_allclose(out, np.maximum(x @ TARGET.T, 0), atol=1e-14)


def test_a_dead_neuron_can_leave_a_half_fit() -> None:
    """The loss changes by v n (sin phi - phi cos phi)/(2 pi), phi the angle of its row to a."""
    target, phi, h = np.array([[1.0, 0.0]]), 2.0, 1e-3
    hidden, readout = half_fit([1.0], target, n_dead=1)
    hidden[1], readout[1] = h * np.array([np.cos(phi), np.sin(phi)]), -h
    change = loss_of(hidden, readout, target) - 0.25
    wanted = -(h**2) * (np.sin(phi) - phi * np.cos(phi)) / (2 * np.pi)
    assert change == pytest.approx(wanted, rel=1e-5)  # v^2 n^2 / 4 is left out
    assert change < 0


def test_gains_that_do_not_fit_are_refused() -> None:
    for call in (
        lambda: half_fit([1.0], TARGET),
        lambda: half_fit([SIZE, 0.0], TARGET),
        lambda: half_fit([SIZE], TARGET, opposite=True),
        lambda: half_fit([SIZE], TARGET, norms=[0.0]),
        lambda: half_fit([np.nan], TARGET),
        lambda: half_fit([SIZE], 0 * TARGET),
        lambda: global_minimum([SIZE], [SIZE], TARGET),
        lambda: global_minimum([SIZE], [-SIZE], np.ones((2, 3))),
        lambda: plateau(np.ones((2, 4)), TARGET),
        lambda: paired_minimum(np.ones((2, 3)), np.ones((3, 1))),
        lambda: paired_minimum(np.ones((1, 3)), np.ones((1, 1)), [-1.0]),
        lambda: classify(*[a[None] for a in MEMBERS["pair"][0]], TARGET),
    ):
        with pytest.raises(InputError, match="Argument"):
            call()
