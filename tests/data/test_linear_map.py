"""The task of a linear map: white inputs and the singular values asked for."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from gramdyn import InputError
from gramdyn.data import linear_map
from gramdyn.systems import SquaredLoss


def target_of(task):
    """T, shape (C, d)."""
    return np.asarray(task.targets).T


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize(("d", "c"), [(4, 4), (5, 3), (2, 6)])
@pytest.mark.parametrize(
    "values", [(2.0, 1.0), (1.5, 1.5), (3.0, 0.0), (0.0, 0.0), (0.5,), (1.0, 2.0)]
)
def test_singular_values_are_those_given(values, d, c, rotate):
    task = linear_map(n_inputs=d, n_outputs=c, singular_values=values, rotate=rotate, seed=3)
    np.testing.assert_array_equal(task.inputs, np.eye(d))
    target = target_of(task)
    assert target.shape == (c, d)
    wanted = np.zeros(min(c, d))
    wanted[: len(values)] = sorted(values, reverse=True)
    np.testing.assert_allclose(np.linalg.svd(target)[1], wanted, atol=1e-14)
    plain = np.zeros((c, d))
    np.fill_diagonal(plain, wanted)
    if rotate and max(values) > 0:
        assert np.abs(target - plain).max() > 0.1
    else:
        np.testing.assert_array_equal(target, plain)
    assert task.labels is None


def test_loss_is_half_the_squared_distance_of_the_maps():
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(3.0, 2.0, 1.0), rotate=True)
    other = np.random.default_rng(0).normal(size=(3, 4))
    outputs, targets = jnp.asarray(task.inputs @ other.T), jnp.asarray(task.targets)
    found = SquaredLoss("sum").value(outputs, targets)
    wanted = 0.5 * np.sum((target_of(task) - other) ** 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_rotations_are_of_both_sides_and_of_their_own_streams():
    """With one rotation for both sides, U and V^T would be one matrix, or U and V."""
    made = lambda **more: target_of(  # noqa: E731
        linear_map(
            n_inputs=4, n_outputs=4, rotate=True, **{"singular_values": (3.0, 2.0, 1.0)} | more
        )
    )
    target = made()
    np.testing.assert_array_equal(made(), target)
    assert np.abs(made(seed=1) - target).max() > 0.1
    left, _, right = np.linalg.svd(target)
    for other in (right, right.T):
        assert np.abs(np.abs(left) - np.abs(other)).max() > 0.1
    # other values, the same singular vectors
    other = made(singular_values=(5.0, 4.0, 0.0))
    for one, two in ((target @ target.T, other @ other.T), (target.T @ target, other.T @ other)):
        np.testing.assert_allclose(one @ two, two @ one, atol=1e-13)


def test_values_drawn_between_two_bounds():
    def drawn(seed, **more):
        task = linear_map(n_inputs=50, n_outputs=60, between=(0.5, 2.0), seed=seed, **more)
        return np.linalg.svd(target_of(task))[1]

    values = drawn(0)
    assert len(values) == 50
    assert 0.5 <= values.min() < 0.7
    assert 1.8 < values.max() <= 2
    # the mean of 50 uniform numbers, four standard errors
    assert abs(values.mean() - 1.25) < 4 * 1.5 / np.sqrt(12 * 50)
    np.testing.assert_allclose(drawn(0, rotate=True), values, rtol=1e-13)
    assert np.abs(drawn(1) - values).max() > 1e-3
    task = linear_map(n_inputs=3, n_outputs=3, between=(2.0, 2.0))
    np.testing.assert_array_equal(target_of(task), 2 * np.eye(3))


def test_notes_say_how_it_was_made():
    task = linear_map(n_inputs=3, n_outputs=3, singular_values=(1.0, 2.5), rotate=True, seed=4)
    notes = {"singular_values": "2.5, 1", "rotate": True, "seed": 4}
    assert dict(task.notes) == notes
    assert task.name == "linear_map"


MOST = r"`singular_values` must hold 1 to 3 finite numbers of at least 0, but is "
PAIR = r"`between` must be a pair \(low, high\) with 0 <= low <= high, but is "


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"singular_values": (1.0, float("nan"))}, MOST),
        ({"singular_values": (float("inf"),)}, MOST),
        ({"singular_values": (-1.0,)}, MOST),
        ({"singular_values": ()}, MOST),
        ({"singular_values": (4.0, 3.0, 2.0, 1.0)}, MOST),
        ({}, "`singular_values` must be given, or else `between`, but is None"),
        ({"singular_values": (1.0,), "between": (1.0, 2.0)}, "must be given, or else `between`"),
        ({"between": (2.0, 1.0)}, PAIR),
        ({"between": (-1.0, 1.0)}, PAIR),
        ({"between": (float("nan"), 1.0)}, PAIR),
        ({"between": (0.0, float("inf"))}, PAIR),
        ({"singular_values": (1.0,), "seed": -1}, "`seed` must be a whole number of at least 0"),
        ({"singular_values": (1.0,), "n_inputs": 0}, "`n_inputs` must be a whole number"),
        ({"singular_values": (1.0,), "n_outputs": -1}, "`n_outputs` must be a whole number"),
    ],
)
def test_refusals(options, told):
    with pytest.raises(InputError, match=told) as caught:
        linear_map(**{"n_inputs": 3, "n_outputs": 4} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"singular_values": (True,)},
        {"singular_values": ("a",)},
        {"singular_values": 3.0},
        {"between": (1.0,)},
        {"between": ("a", "b")},
        {"between": 2.0},
        {"singular_values": (1.0,), "rotate": "no"},
    ],
)
def test_other_types_are_refused(options):
    """In tests by their annotations, elsewhere by the checks themselves."""
    with pytest.raises((InputError, TypeCheckError)):
        linear_map(n_inputs=3, n_outputs=4, **options)
