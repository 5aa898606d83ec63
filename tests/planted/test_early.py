"""The linear law of tiny weights, and the end of the run that it decides."""

import numpy as np
import pytest
from support.planted_starts import drawn

from gramdyn._errors import InputError
from gramdyn.models import READOUT_LAWS
from gramdyn.planted import (
    alignment_steps,
    both_signs,
    early_strengths,
    early_weights,
    final_gains,
    success_probability,
)
from gramdyn.planted._points import gains_of, loss_of

UNIT = np.array([[1.0, 0.0, 0.0]])


def _starts(
    n: int, k: int, sigma: float, law: str, d: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin starts of n seeds for one output, and the target."""
    return *drawn(n, k, 1, sigma, d=d, law=law), np.eye(1, k + 1)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_tiny_weights_obey_the_linear_law(n_outputs: int, descend) -> None:
    rng = np.random.default_rng(n_outputs)
    rows, turned = (1e-9 * rng.normal(size=s) for s in ((3, 4, 5), (3, 4, n_outputs)))
    target = rng.normal(size=(n_outputs, 5))
    found = early_weights(rows, turned, target, 0.1, 60)
    wanted = descend(rows, turned, target, 0.1, 60)
    size = np.abs(wanted[0]).max()
    assert size > 2e-9  # it grew
    for one, other in zip(found, wanted, strict=True):
        # rounding of 60 steps; what is left out is of the square of the weights, 1e-15
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-13 * size)


def test_sums_grow_differences_shrink_the_rest_stays() -> None:
    rows, turned = np.array([[0.3, 0.2, -0.1]]), np.array([[-0.2]])
    hidden, readout = early_weights(rows, turned, 4.0 * UNIT, 0.1, 7)
    assert readout[0, 0] + hidden[0, 0] == pytest.approx(0.1 * 1.2**7, rel=1e-14)
    assert readout[0, 0] - hidden[0, 0] == pytest.approx(-0.5 * 0.8**7, rel=1e-14)
    np.testing.assert_array_equal(hidden[0, 1:], rows[0, 1:])
    np.testing.assert_allclose(early_strengths(rows, turned, 4.0 * UNIT), [0.1], rtol=1e-14)


@pytest.mark.parametrize(
    ("k", "law", "n"),
    [(2, "chi", 1000), (2, "same", 1000), (3, "xavier", 600), (4, "balanced", 400)],
)
def test_signs_of_the_strengths_decide_every_run(k: int, law: str, n: int, descend) -> None:
    rows, turned, target = _starts(n, k, 1e-8, law)
    strengths = early_strengths(rows, turned, target)
    hidden, readout = descend(rows, turned, target, 0.1, 1500)
    loss, success = loss_of(hidden, readout, target), both_signs(strengths)
    # levels to the rounding of the loss; measured 7e-17 for every seed
    np.testing.assert_allclose(loss, np.where(success, 0.0, 0.25), rtol=0, atol=1e-14)
    # four standard errors
    chance = success_probability(k)
    assert abs(np.mean(success) - chance) < 4 * np.sqrt(chance * (1 - chance) / n)
    # shares of the gain, exact for descent too; measured 2e-15
    np.testing.assert_allclose(gains_of(hidden, readout), final_gains(strengths), atol=1e-13)
    flipped = np.any(np.sign(turned) != np.sign(readout), axis=(1, 2))
    assert np.any(flipped) == (law in ("same", "xavier"))  # the sign of v(0) does not decide


@pytest.mark.parametrize("law", READOUT_LAWS)
def test_alignment_takes_the_predicted_steps_at_every_scale(law: str, descend) -> None:
    for sigma in (1e-8, 1e-4):
        rows, turned, target = _starts(40, 2, sigma, law)
        hidden, readout = descend(rows, turned, target, 0.1, 400, every=1)
        along = hidden[..., 0]
        off = np.arctan2(np.linalg.norm(hidden[..., 1:], axis=-1), np.abs(along))
        aligned = np.all((off <= 0.1) & (readout[..., 0] * along > 0), axis=-1)
        first = 1 + np.argmax(aligned, axis=0)
        predicted = alignment_steps(rows, turned, target, 0.1)
        early = predicted < 300
        assert np.sum(early) > 30
        # one for rounding up to whole steps, less than one for what growth and shrinking leave out
        assert np.all(np.abs(first - predicted - 0.5)[early] < 1.5)


def test_alignment_at_once_or_never() -> None:
    rows = np.array([[[0.1, 0.001, 0.0]], [[0.1, 1.0, 0.0]]])
    turned = np.array([[[0.2]], [[-0.1]]])
    np.testing.assert_array_equal(alignment_steps(rows, turned, UNIT, 0.1), [0.0, np.inf])


def test_groups_share_in_proportion_to_squares() -> None:
    found = final_gains([[1e-8, -3e-200, 3e-8, 4e-200], [0.0, -1.0, -2.0, 0.0]], 2.0)
    np.testing.assert_allclose(found[0], [0.2, -2.0, 1.8, 0.0], rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(found[1], [0.0, -0.4, -1.6, 0.0], rtol=1e-14)
    np.testing.assert_array_equal(final_gains([0.0, 0.0]), 0.0)
    np.testing.assert_array_equal(both_signs([[1, -1e-300], [1, 0], [-1, 0]]), [1, 0, 0])


def test_chance_of_success_by_counting() -> None:
    for k in (1, 2, 3, 6, 10):
        signs = 2.0 * (np.arange(2**k)[:, None] >> np.arange(k) & 1) - 1
        assert success_probability(k) == np.mean(both_signs(signs))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", np.full((2, 3), np.nan)),
        ("hidden", np.ones((2, 4))),
        ("readout", np.ones((2, 2))),
        ("target", np.zeros((1, 3))),
        ("target", [[0.0, np.inf, 1.0]]),
    ],
)
def test_bad_weights_are_refused(name: str, value: object) -> None:
    given = {"hidden": np.ones((2, 3)), "readout": np.ones((2, 1)), "target": UNIT} | {name: value}
    with pytest.raises(InputError, match=f"Argument `{name}`"):
        early_strengths(**given)
    with pytest.raises(InputError, match="Argument `strengths` must"):
        both_signs([1.0, np.nan])
    with pytest.raises(InputError, match="Argument `n_hidden` must"):
        success_probability(0)
    with pytest.raises(InputError, match="Argument `angle` must"):
        alignment_steps(np.ones((2, 3)), np.ones((2, 1)), UNIT, 0.1, 2.0)
