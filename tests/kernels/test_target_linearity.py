"""Target Linearity against least squares, its invariances, and where an explicit inverse fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.kernels.target_linearity import (
    feature_fit,
    heldout_linearity,
    linearity_by_layer,
    linearity_surrogate,
    principal_scores,
    reference_linearity,
    target_linearity,
)
from gramdyn.models import make_activation


def problem(n=60, width=7, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, width)) + 3.0
    targets = np.tanh(features[:, :outputs]) + 0.5 * rng.standard_normal((n, outputs)) + 1.0
    return jnp.asarray(features), jnp.asarray(targets)


def by_least_squares(features, targets, intercept=True, ridge=0.0):
    """NumPy's own least squares, ridge by extra rows."""
    features, targets = np.asarray(features), np.asarray(targets)
    wanted = targets - targets.mean(0)
    used = features - features.mean(0) if intercept else features
    rows = np.vstack([used, np.sqrt(ridge) * np.eye(used.shape[1])])
    padded = np.vstack([wanted, np.zeros((used.shape[1], wanted.shape[1]))])
    fit = used @ np.linalg.lstsq(rows, padded, rcond=1e-12)[0]
    return 1 - np.sum((wanted - fit) ** 2) / np.sum(wanted**2)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 0.3, 50.0])
@pytest.mark.parametrize("shape", [(60, 7), (200, 40), (12, 11)])
def test_is_that_of_least_squares(shape, ridge, intercept):
    features, targets = problem(*shape)
    found = target_linearity(features, targets, intercept=intercept, ridge=ridge)
    wanted = by_least_squares(features, targets, intercept, ridge)
    np.testing.assert_allclose(found.value, wanted, rtol=0, atol=1e-12)
    assert found.rank == shape[1]
    if intercept and ridge == 0:
        np.testing.assert_allclose(found.null, shape[1] / (shape[0] - 1))


def test_is_one_with_as_many_features_as_samples():
    features, targets = problem(20, 30)
    found = target_linearity(features, targets)
    np.testing.assert_allclose(found.value, 1.0, atol=1e-12)
    assert found.rank == 19
    assert np.isnan(found.adjusted)


def test_is_unchanged_by_what_should_not_change_it():
    features, targets = problem()
    rng = np.random.default_rng(1)
    value = target_linearity(features, targets).value
    dead, double = jnp.zeros((60, 2)), features[:, :1]
    mixed = features @ rng.standard_normal((7, 7)) + 5.0
    turned = 3.0 * targets @ np.linalg.qr(rng.standard_normal((3, 3)))[0] - 2.0
    for other, wanted in (
        (jnp.hstack([features, dead]), targets),
        (jnp.hstack([features, double, features @ rng.standard_normal((7, 4))]), targets),
        (mixed, targets),
        (features, turned),
    ):
        found = target_linearity(other, wanted)
        np.testing.assert_allclose(found.value, value, rtol=0, atol=1e-12)
        assert found.rank == 7


def test_a_linear_layer_only_loses_and_no_intercept_is_a_lower_bound():
    features, targets = problem()
    value = target_linearity(features, targets).value
    assert target_linearity(features[:, :4] @ jnp.ones((4, 3)), targets).value < value
    assert target_linearity(features, targets, intercept=False).value < value


def test_constants():
    features, targets = problem()
    found = target_linearity(jnp.ones_like(features), targets)
    assert found.value == 0
    assert found.rank == 0
    assert np.isnan(target_linearity(features, jnp.ones_like(targets)).value)


@pytest.mark.parametrize("options", [{}, {"intercept": False}, {"ridge": 5.0}])
def test_null_and_adjusted_value_of_features_that_know_nothing(options):
    def one(key):
        of_features, of_targets = jax.random.split(key)
        features = 1.0 + jax.random.normal(of_features, (40, 12))
        return target_linearity(features, jax.random.normal(of_targets, (40, 3)), **options)

    found = jax.vmap(one)(jax.random.split(jax.random.key(0), 2000))
    for values in (found.value - found.null, found.adjusted):
        error = float(jnp.std(values)) / np.sqrt(2000)
        assert abs(float(jnp.mean(values))) < 4 * error
    if not options:
        np.testing.assert_allclose(found.null, 12 / 39)


def test_where_an_explicit_inverse_fails():
    features, targets = problem(200, 12)
    value = float(target_linearity(features, targets).value)
    nearly = jnp.hstack([features, features[:, :1] * (1 + 1e-6)])
    # Width above the number of samples, in float32.
    wide = jnp.asarray(np.random.default_rng(2).standard_normal((100, 256)), jnp.float32)
    single = targets.astype(jnp.float32)
    robust = target_linearity(nearly.astype(jnp.float32), single)
    np.testing.assert_allclose(robust.value, value, atol=1e-5)
    np.testing.assert_allclose(target_linearity(wide, single[:100]).value, 1.0, atol=1e-5)
    low = jnp.hstack([features] * 5)  # rank 12 of width 60
    np.testing.assert_allclose(target_linearity(low, targets).value, value, atol=1e-12)
    centred = single - single.mean(0, keepdims=True)
    broken = [float(reference_linearity(one.astype(jnp.float32), centred)) for one in (nearly, low)]
    # What an inverse of a singular matrix gives is up to the device; NaN is no answer either.
    assert not all(abs(found - value) < 0.01 for found in broken)


def test_reference_is_what_it_says_where_it_can_be():
    features, targets = problem()
    wanted = targets - targets.mean(0, keepdims=True)
    numpy_features, numpy_targets = np.asarray(features), np.asarray(wanted)
    hat = numpy_features @ np.linalg.solve(
        numpy_features.T @ numpy_features, numpy_features.T @ numpy_targets
    )
    rest = np.sum((numpy_targets - hat) ** 2)
    size = np.sum((numpy_targets - numpy_targets.mean(1, keepdims=True)) ** 2)
    np.testing.assert_allclose(reference_linearity(features, wanted), 1 - rest / size, atol=1e-12)
    # One-hot targets have equal row means, so that only the intercept is missing there.
    hot = jnp.eye(3)[jnp.arange(60) % 3]
    hot = hot - hot.mean(0, keepdims=True)
    plain = target_linearity(features, hot, intercept=False).value
    np.testing.assert_allclose(reference_linearity(features, hot), plain, atol=1e-12)


def test_heldout_is_the_fit_on_other_samples():
    features, targets = problem(80)
    found = heldout_linearity(features[:50], targets[:50], features[50:], targets[50:])
    ones = np.ones((80, 1))
    rows = np.hstack([np.asarray(features), ones])
    fit = rows[50:] @ np.linalg.lstsq(rows[:50], np.asarray(targets[:50]), rcond=None)[0]
    rest, mean = np.asarray(targets[50:]), np.asarray(targets[:50]).mean(0)
    wanted = 1 - np.sum((rest - fit) ** 2) / np.sum((rest - mean) ** 2)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    again = heldout_linearity(features, targets, features, targets)
    np.testing.assert_allclose(again, target_linearity(features, targets).value, atol=1e-12)


@pytest.mark.parametrize("intercept", [True, False])
def test_heldout_with_a_ridge_and_without_intercept_is_that_of_the_normal_equations(intercept):
    features, targets = (np.asarray(part) for part in problem(80))
    seen, new = slice(0, 60), slice(60, 80)
    mean, ridge = targets[seen].mean(0), 3.0
    base = features[seen].mean(0) if intercept else 0.0
    rows = features[seen] - base
    square = rows.T @ rows + ridge * np.eye(rows.shape[1])
    fit = (features[new] - base) @ np.linalg.solve(square, rows.T @ (targets[seen] - mean))
    rest = np.sum((targets[new] - mean - fit) ** 2)
    wanted = 1 - rest / np.sum((targets[new] - mean) ** 2)
    parts = [jnp.asarray(part) for part in (features[seen], targets[seen])]
    others = [jnp.asarray(part) for part in (features[new], targets[new])]
    found = heldout_linearity(*parts, *others, intercept=intercept, ridge=ridge)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_surrogate_against_explicit_matrices():
    features, targets = problem()
    weight = jax.random.normal(jax.random.key(0), (5, 7))
    found = linearity_surrogate(features, targets, weight)
    outputs, wanted = features @ weight.T, targets - targets.mean(0, keepdims=True)
    np.testing.assert_allclose(
        found["surrogate"], jnp.trace(wanted.T @ outputs @ outputs.T @ wanted) / 3
    )
    assert 0 < found["normalised"] < 1
    scaled = linearity_surrogate(2 * features, 5 * targets, 3 * weight)
    np.testing.assert_allclose(scaled["normalised"], found["normalised"], rtol=1e-12)
    # Of one output that is the target itself it is all there is.
    same = linearity_surrogate(wanted[:, :1], targets[:, :1], jnp.ones((1, 1)))
    np.testing.assert_allclose(same["normalised"], 1.0, rtol=1e-12)


def test_principal_scores_are_orthogonal_and_hold_the_most_variance():
    features, targets = problem()
    scores = principal_scores(features, 3)
    covariance = np.cov(np.asarray(features).T, ddof=0) * 60
    np.testing.assert_allclose(
        scores.T @ scores, np.diag(np.linalg.eigvalsh(covariance)[::-1][:3]), atol=1e-10
    )
    whole = target_linearity(principal_scores(features, 7), targets).value
    np.testing.assert_allclose(whole, target_linearity(features, targets).value, atol=1e-12)
    with pytest.raises(InputError, match="`components` must be 1 to"):
        principal_scores(features, 8)


def test_batches_and_precision():
    features, targets = problem(200, 40)
    wanted = target_linearity(features, targets)
    batch = jax.vmap(target_linearity)(jnp.stack([features] * 3), jnp.stack([targets] * 3))
    np.testing.assert_allclose(batch.value, jnp.full(3, wanted.value), rtol=1e-12)
    single = jax.jit(target_linearity)(features.astype(jnp.float32), targets.astype(jnp.float32))
    assert single.value.dtype == jnp.float32
    np.testing.assert_allclose(single.value, wanted.value, atol=1e-4)


def test_layers_from_arrays_made_elsewhere_have_the_linearity_they_were_built_with():
    """Features that hold the targets' first k of 4 orthonormal columns tell k / 4 of them."""
    draw = np.random.default_rng(0)
    frame = np.linalg.qr(np.column_stack([np.ones(50), draw.normal(size=(50, 9))]))[0][:, 1:]
    targets = frame[:, :4] + 3.0
    layers = [
        np.column_stack([frame[:, :k], frame[:, 5:]]) @ draw.normal(size=(k + 4, 7 + k))
        for k in range(1, 4)
    ]
    layers.append(targets.astype(np.float32))
    found = linearity_by_layer(layers, targets)
    np.testing.assert_allclose(found.value, [0.25, 0.5, 0.75, 1.0], atol=1e-6)
    np.testing.assert_array_equal(found.rank, [5, 6, 7, 4])
    one = linearity_by_layer(layers[:2], targets[:, 0])
    np.testing.assert_allclose(one.value, [1.0, 1.0], atol=1e-12)
    few = linearity_by_layer([layers[2]], targets, components=3)
    wanted = target_linearity(principal_scores(jnp.asarray(layers[2]), 3), jnp.asarray(targets))
    np.testing.assert_allclose(few.value[0], wanted.value, rtol=1e-12)


def test_refusals_of_features_made_elsewhere():
    good = np.ones((4, 2))
    for layers, targets, told in (
        ([], np.ones(4), "`features` must list one layer"),
        ([np.ones((3, 2))], np.ones(4), r"features\[0\]` must have 4 rows"),
        ([good, np.full((4, 2), np.nan)], np.ones(4), r"features\[1\]` must be finite"),
        ([good], np.array([1, 2, 3, np.inf]), "`targets` must be finite"),
    ):
        with pytest.raises(InputError, match=told):
            linearity_by_layer(layers, targets)


def test_distances_to_the_best_readout_are_those_of_a_right_triangle():
    draw = np.random.default_rng(1)
    features, targets, readout = (
        jnp.asarray(draw.normal(size=shape)) for shape in ((30, 5), (30, 2), (5, 2))
    )
    found = feature_fit(features, targets, features @ readout)
    np.testing.assert_allclose(found.residual**2, found.features**2 + found.readout**2, rtol=1e-13)
    best = np.linalg.lstsq(features, targets, rcond=None)[0]
    missed = np.linalg.norm(targets - features @ best)
    np.testing.assert_allclose(found.features, missed, rtol=1e-12)


@pytest.mark.parametrize("n_samples", [600, 200])
def test_deep_features_at_the_start_where_the_inverse_fails(n_samples):
    """Fourth GELU layer of width 256 on digits: ill-conditioned, and then wider than n, in float32.

    The robust value in float32 is that of float64, and there that of NumPy's least squares.
    """
    task = gd.digits(classes=tuple(range(10)), n_samples=n_samples, centre=False, one_hot=True)
    network = gd.init_network(
        jax.random.key(0),
        64,
        (256,) * 4,
        10,
        activation=make_activation("gelu"),
        parametrization="uniform",
        bias=True,
    )
    inputs, targets = jnp.asarray(3.87 * task.inputs), jnp.asarray(task.targets)
    features = network.traces(inputs)[3].act
    condition = np.linalg.cond(features - features.mean(0, keepdims=True))
    value = target_linearity(features, targets)
    one = np.column_stack([np.asarray(features), np.ones(n_samples)])
    rest = task.targets - one @ np.linalg.lstsq(one, task.targets, rcond=None)[0]
    wanted = 1 - np.sum(rest**2) / np.sum((task.targets - task.targets.mean(0)) ** 2)
    np.testing.assert_allclose(value.value, wanted, atol=1e-9)
    single = features.astype(jnp.float32), targets.astype(jnp.float32)
    np.testing.assert_allclose(target_linearity(*single).value, wanted, atol=1.3e-3)
    assert condition**2 > 1 / np.finfo(np.float32).eps  # where an inverse of H^T H is no number
    broken = reference_linearity(single[0], single[1] - single[1].mean(0, keepdims=True))
    assert not abs(float(broken) - wanted) < 0.01
