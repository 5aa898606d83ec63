"""Plateaus and the rate at the end, against integrated flows and the Hessian by autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gramdyn._errors import InputError
from gramdyn.deep_linear.critical import critical_values
from gramdyn.deep_linear.products import whole_map
from gramdyn.deep_linear.sequential import local_rate, plateau_levels


def _rotated(values: tuple[float, ...], rows: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(rows)
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for d in (rows, columns))
    return left[:, : len(values)] @ np.diag(values) @ right[:, : len(values)].T


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ((3.0, 2.0, 1.0), [7.0, 2.5, 0.5, 0.0]),
        ((2.0, 2.0), [4.0, 2.0, 0.0]),
        ((2.0, 0.0), [2.0, 0.0]),
        ((0.0,), [0.0]),
    ],
    ids=["distinct", "tied", "rank-deficient", "zero"],
)
def test_levels(values: tuple[float, ...], levels: list[float]) -> None:
    target = _rotated(values, 5, 4)
    # Rounding of a decomposition and a sum.
    np.testing.assert_allclose(plateau_levels(target), levels, rtol=0, atol=1e-13)
    np.testing.assert_allclose(plateau_levels(target, 0.3), np.add(levels, 0.3), rtol=0, atol=1e-13)


def test_levels_are_losses_of_truncated_targets() -> None:
    target = np.random.default_rng(0).normal(size=(3, 5))
    left, values, right = np.linalg.svd(target, full_matrices=False)
    for j, level in enumerate(plateau_levels(target)):
        kept = left[:, :j] @ np.diag(values[:j]) @ right[:j]
        assert level == pytest.approx(np.sum((target - kept) ** 2) / 2, abs=1e-13)


def _flow(start: list[np.ndarray], target: np.ndarray, times: np.ndarray) -> list[list[np.ndarray]]:
    """The layers at the times, integrated."""
    count, shape = len(start), start[0].shape

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        weights = flat.reshape(count, *shape)
        below = [np.eye(shape[1])]
        for weight in weights:
            below.append(weight @ below[-1])
        left, parts = target - below[-1], []
        for index in reversed(range(count)):
            parts.append(left @ below[index].T)
            left = weights[index].T @ left
        return np.concatenate([part.ravel() for part in parts[::-1]])

    flow = solve_ivp(
        velocity,
        (0.0, times[-1]),
        np.concatenate([w.ravel() for w in start]),
        method="DOP853",
        rtol=1e-10,
        atol=1e-16,
        t_eval=times,
    )
    return [list(flat.reshape(count, *shape)) for flat in flow.y.T]


@pytest.mark.parametrize(
    ("n_layers", "scale", "end", "allowed"), [(2, 1e-6, 25.0, 5e-3), (3, 1e-2, 150.0, 1e-4)]
)
def test_small_starts_wait_at_the_levels(
    n_layers: int, scale: float, end: float, allowed: float
) -> None:
    """Loss where it changes least while j modes are beyond half, relative to 7."""
    rng = np.random.default_rng(3)
    target = np.diag([3.0, 2.0, 1.0])
    start = [scale * rng.normal(size=(3, 3)) for _ in range(n_layers)]
    maps = np.array([whole_map(tuple(w)) for w in _flow(start, target, np.linspace(0, end, 4001))])
    losses = np.sum((target - maps) ** 2, axis=(1, 2)) / 2
    learned = np.sum(np.diagonal(maps, axis1=1, axis2=2) > np.array([1.5, 1.0, 0.5]), axis=1)
    speed = np.abs(np.gradient(losses))
    for j, level in enumerate(plateau_levels(target)):
        inside = np.flatnonzero(learned == j)
        waiting = losses[inside[np.argmin(speed[inside])]]
        assert abs(waiting - level) / 7 < allowed


def _balanced(values: tuple[float, ...], n_layers: int) -> list[np.ndarray]:
    return [np.diag(np.power(values, 1 / n_layers))] * n_layers


@pytest.mark.parametrize(
    ("n_layers", "values"),
    [(1, (2.0, 0.6)), (2, (2.0, 0.6)), (3, (2.0, 0.6)), (4, (2.0, 0.6)), (3, (1.5, 1.0, 1.0))],
)
def test_rate_is_the_least_positive_eigenvalue_of_the_hessian(
    n_layers: int, values: tuple[float, ...]
) -> None:
    weights, target = _balanced(values, n_layers), jnp.diag(jnp.array(values))
    shape = (n_layers, len(values), len(values))

    def loss(flat: jax.Array) -> jax.Array:
        found = jnp.eye(len(values))
        for weight in flat.reshape(shape):
            found = weight @ found
        return jnp.sum((target - found) ** 2) / 2

    hessian = jax.jit(jax.hessian(loss))(jnp.asarray(np.concatenate([w.ravel() for w in weights])))
    eigenvalues = np.linalg.eigvalsh(hessian)
    least = eigenvalues[eigenvalues > 1e-8][0]
    assert local_rate(n_layers, values) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("n_layers", [2, 3])
def test_loss_of_a_balanced_network_falls_at_twice_the_rate(n_layers: int) -> None:
    values = (2.0, 0.6)
    start = [0.8 * w for w in _balanced(values, n_layers)]
    found = _flow(start, np.diag(values), np.array([0.0, 6.0, 7.0]))
    maps = [whole_map(tuple(w)) for w in found]
    early, late = (np.sum((np.diag(values) - m) ** 2) for m in maps[1:])
    # The residual is about 1e-3 by then, and so is the next order.
    assert np.log(early / late) == pytest.approx(2 * local_rate(n_layers, values), rel=2e-3)


def test_rate_of_a_singular_target_is_zero() -> None:
    assert local_rate(3, [2.0, 0.0]) == 0.0
    assert local_rate(2, [2.0, 0.0]) == 0.0
    assert local_rate(1, [2.0, 0.0]) == 1.0  # the residual of one layer falls as e^{-t} whatever T


@pytest.mark.parametrize("scale", [1e-60, 1e-11, 1.0, 1e11])
@pytest.mark.parametrize("least", [1e-9, 1e-11, 0.0])
def test_zero_is_relative_as_at_critical_points(scale: float, least: float) -> None:
    """Scaling the target scales every level and every rate, and no mode appears or goes."""
    values = (3.0, 2.0, least)
    target, kept = np.diag(values), 3 if least > 1e-10 * 3 else 2
    levels = plateau_levels(scale * target)
    assert len(levels) == kept + 1
    assert len(levels) - 1 == max(map(len, critical_values(scale * target, (3, 3, 3)).chosen))
    np.testing.assert_allclose(levels, scale**2 * plateau_levels(target), rtol=1e-14, atol=0)
    found = critical_values(scale * target, (3, 3, 3))
    by_set = dict(zip(found.chosen, found.values, strict=True))
    for j, level in enumerate(levels):  # equal up to the order of two sums
        assert by_set[tuple(range(j))] == pytest.approx(level, rel=1e-14)
    rates = [local_rate(3, scale * np.array(values)), scale ** (4 / 3) * local_rate(3, values)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-13)
    assert (rates[0] > 0) == (kept == 3)


def test_small_target_has_the_levels_of_its_critical_points() -> None:
    target = 1e-11 * np.diag([3.0, 2.0, 1.0])
    assert len(critical_values(target, (3, 3, 3)).levels) == 8
    np.testing.assert_allclose(plateau_levels(target) * 1e22, [7.0, 2.5, 0.5, 0.0], rtol=1e-14)
    assert local_rate(2, [3e-11, 1e-11]) == pytest.approx(2e-11, rel=1e-14)


def test_bad_input() -> None:
    for arguments, name in (
        ((np.array([[1.0, np.nan]]),), "target"),
        ((np.eye(2), -1.0), "floor"),
        ((np.eye(2), 0.0, -1.0), "tolerance"),
    ):
        with pytest.raises(InputError, match=f"`{name}`"):
            plateau_levels(*arguments)
    for values in ([], [1.0, -1.0], [np.nan]):
        with pytest.raises(InputError, match="`singular_values`"):
            local_rate(2, values)
    with pytest.raises(InputError, match="`n_layers`"):
        local_rate(0, [1.0])
