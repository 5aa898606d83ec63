"""Projectors of what is unlearned: their algebra, and criticality along the scaling of Z."""

from itertools import pairwise

import numpy as np
import pytest
from support.deep_linear_points import LEARNED, canonical, chain, random_point

from gramdyn._errors import InputError
from gramdyn.deep_linear._points import gradients, loss_of, norm_of
from gramdyn.deep_linear.splitting import excess_projectors, split

POINTS = [
    random_point(np.random.default_rng([seed, n_layers]), family, n_layers)
    for family in LEARNED
    for n_layers in (2, 3, 4, 5)
    for seed in range(3)
]
ROUNDING = 1e-12  # products of up to six factors of size 1, condition up to some hundred


def _random(seed, widths):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(u, d)) for d, u in pairwise(widths))


@pytest.mark.parametrize("point", POINTS)
def test_projectors_are_idempotent_pass_through_layers_and_count_what_is_free(point):
    found = excess_projectors(point.weights)
    rank = len(point.chosen)
    for layer, weight in enumerate(point.weights):
        np.testing.assert_allclose(weight @ found[layer], found[layer + 1] @ weight, atol=ROUNDING)
    for projector in found:
        np.testing.assert_allclose(projector @ projector, projector, atol=ROUNDING)
        assert np.trace(projector) == pytest.approx(len(projector) - rank, abs=ROUNDING)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("scale", [0.0, 0.3, -2.0])
def test_scaled_unlearned_network_stays_critical_on_its_level(point, scale):
    parts = split(point.weights)
    moved = tuple(a + scale * z for a, z in zip(parts.learned, parts.unlearned, strict=True))
    assert norm_of(gradients(moved, point.target)) < ROUNDING
    value = loss_of(point.weights, point.target)
    assert loss_of(moved, point.target) == pytest.approx(value, abs=ROUNDING)


@pytest.mark.parametrize("point", POINTS)
def test_learned_makes_the_map_and_unlearned_makes_nothing(point):
    parts = split(point.weights)
    size = point.target.shape[1]
    np.testing.assert_allclose(
        chain(parts.learned, size), chain(point.weights, size), atol=ROUNDING
    )
    np.testing.assert_allclose(chain(parts.unlearned, size), 0.0, atol=ROUNDING)
    assert parts.rank == len(point.chosen)


def test_any_weights_split_and_full_rank_leaves_nothing_at_the_ends():
    parts = split(_random(0, (3, 5, 3)))
    np.testing.assert_allclose(parts.projectors[0], 0.0, atol=ROUNDING)
    np.testing.assert_allclose(parts.projectors[2], 0.0, atol=ROUNDING)
    assert np.trace(parts.projectors[1]) == pytest.approx(2.0)


def test_map_of_rounding_size_counts_as_zero():
    weights = canonical((1.0,), (1, 2, 2), (), extra=[(1, 1, 1, 1.0), (2, 1, 2, 1.0)])
    noisy = (weights[0], weights[1] + 1e-15)  # Pi ~ 1e-15: a relative cutoff would invert it
    for projector in excess_projectors(noisy):
        np.testing.assert_array_equal(projector, np.eye(len(projector)))
    assert split(noisy).rank == 0


def test_bad_input_is_refused_in_words():
    good = _random(1, (2, 2, 2))
    single = tuple(weight.astype(np.float32) for weight in good)
    with pytest.raises(InputError, match="float64"):
        split(single)
    with pytest.raises(InputError, match="finite"):
        split((good[0], good[1] * np.nan))
    with pytest.raises(InputError, match="chain"):
        split((good[0], np.ones((2, 3))))
    with pytest.raises(InputError, match="tolerance"):
        excess_projectors(good, tolerance=0.0)
    assert split(tuple(np.ones((2, 2), dtype=int) for _ in range(2))).rank == 1
