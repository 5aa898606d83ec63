"""Fixed points against SciPy's roots, eigenvalues by NumPy, central differences, unrolled loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from support.loops import FAMILIES, SIZE, loop_matrix, spectral_radius

from gramdyn import InputError
from gramdyn.kernels.fixed_points import (
    SOLVE_STATUSES,
    distances,
    implicit_adjoint,
    iterate,
    iterate_adjoint,
    jacobian_at,
    local_rates,
    measured_rate,
    one_step_cosine,
    solve_fixed_point,
)
from gramdyn.kernels.gram import act_gram, layer_kernel

# Steps this short leave an error of 1e-12 at a rate of 0.9; rounding alone gives 1e-14.
TIGHT = 1e-13


def layer(params, point):
    """tanh(S z + b)."""
    matrix, bias = params
    return jnp.tanh(matrix @ point + bias)


def drawn(seed=0, norm=0.8, size=12):
    """A layer of a given sigma_1(S), and a vector g."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((size, size))
    matrix *= norm / np.linalg.norm(matrix, 2)
    bias, row = rng.standard_normal((2, size))
    return (jnp.asarray(matrix), jnp.asarray(bias)), jnp.asarray(row)


def solved(params, **options):
    start = jnp.zeros_like(params[1])
    return solve_fixed_point(lambda now: layer(params, now), start, **({"tol": TIGHT} | options))


def words(statuses):
    return {SOLVE_STATUSES[code] for code in np.unique(statuses)}


def test_point_is_the_root_scipy_finds_from_every_start():
    params, _ = drawn()
    starts = jnp.asarray(np.random.default_rng(1).standard_normal((5, 12)))
    found = jax.vmap(lambda s: solve_fixed_point(lambda z: layer(params, z), s, tol=TIGHT))(starts)
    matrix, bias = map(np.asarray, params)
    root = scipy.optimize.root(lambda z: np.tanh(matrix @ z + bias) - z, np.zeros(12), tol=1e-13)
    assert root.success
    np.testing.assert_allclose(found.point, np.tile(root.x, (5, 1)), atol=1e-12)
    assert words(found.status) == {"converged"}
    assert jnp.all(found.converged)
    assert jnp.all(found.residual < TIGHT)  # it contracts, so the next step is shorter still


def test_each_row_of_a_batch_stops_at_its_own_iteration():
    params, _ = drawn()
    starts = jnp.asarray([0.0, 1e-6, 1e3])[:, None] * jnp.ones((1, 12)) + solved(params).point[None]
    solve = lambda s: solve_fixed_point(lambda z: layer(params, z), s, tol=1e-9)  # noqa: E731
    found = jax.vmap(solve)(starts)
    assert len(set(found.iterations.tolist())) == 3
    for row, start in enumerate(starts):
        alone = solve(start)
        assert alone.iterations == found.iterations[row]
        np.testing.assert_allclose(found.point[row], alone.point, atol=1e-14)
        # a plain loop: the first step shorter than the tolerance is the last
        count, now, after = 1, start, layer(params, start)
        while jnp.linalg.norm(after - now) >= 1e-9:
            count, now, after = count + 1, after, layer(params, after)
        assert count == alone.iterations
        left = jnp.linalg.norm(layer(params, after) - after)
        np.testing.assert_allclose(alone.residual, left, rtol=1e-6, atol=1e-14)  # down to rounding


def test_rows_may_lie_on_several_devices():
    params, _ = drawn()
    solve = jax.vmap(lambda b: solved((params[0], b)).point)
    biases = params[1][None] * jnp.arange(1.0, 5.0)[:, None]
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.PartitionSpec("rows")
    split = jax.shard_map(solve, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    np.testing.assert_allclose(jax.jit(split)(biases), solve(biases), atol=1e-14)


def test_trees_are_taken_whole():
    pair = {"a": jnp.ones((2, 3)), "b": jnp.zeros(4)}
    found = solve_fixed_point(lambda z: {"a": 0.5 * z["a"] + 1.0, "b": 0.1 * z["b"] + 0.9}, pair)
    np.testing.assert_allclose(found.point["a"], 2.0, atol=1e-8)  # the tolerance over 1 - 0.5
    np.testing.assert_allclose(found.point["b"], 1.0, atol=1e-9)
    wanted = np.sqrt(
        sum(
            np.sum((np.asarray(x) * q - y) ** 2)
            for x, q, y in ((found.point["a"], 0.5, 1.0), (found.point["b"], 0.9, 0.9))
        )
    )
    np.testing.assert_allclose(found.residual, wanted, rtol=1e-6)


def test_what_goes_wrong_is_a_status_of_its_row_alone():
    """2 z + 1 overflows from 1 and stays at -1; 1 / z swings; the root of -z is NaN."""
    maps = (lambda z: 2.0 * z + 1.0, lambda z: 1.0 / z, jnp.sqrt, lambda z: 0.5 * z)
    starts = jnp.asarray([[1.0], [-1.0], [2.0], [jnp.nan]])
    solve = lambda step: jax.vmap(lambda s: solve_fixed_point(step, s, max_steps=2000))  # noqa: E731
    told = [[SOLVE_STATUSES[code] for code in solve(step)(starts).status] for step in maps]
    good, bad, lost = SOLVE_STATUSES
    assert told == [
        [lost, good, lost, lost],
        [good, good, bad, lost],
        [good, lost, good, lost],
        [good, good, good, lost],
    ]


def test_a_map_that_overflows_in_its_last_step_is_told():
    found = solve_fixed_point(lambda z: z**2, jnp.asarray([1e100]), max_steps=2)  # 1e200, infinite
    assert SOLVE_STATUSES[found.status] == "not_finite"


@pytest.mark.parametrize("family", ["dense", "orthogonal"])
def test_chaos_is_told(family):
    """At 1.5 times the critical gain no start settles, while at 0.9 all come to one point."""
    starts = jnp.asarray(np.random.default_rng(1).standard_normal((16, SIZE)))

    @jax.jit
    @jax.vmap
    def solve(start, matrix):
        return solve_fixed_point(lambda z: jnp.tanh(matrix @ z), start, max_steps=3000)

    repeated = lambda gain: jnp.tile(loop_matrix(family, 0, gain), (16, 1, 1))  # noqa: E731
    wild, calm = solve(starts, repeated(1.5)), solve(starts, repeated(0.9))
    assert words(wild.status) == {"not_converged"}
    assert jnp.all(wild.iterations == 3000)
    assert jnp.all(wild.residual > 0.1)
    assert words(calm.status) == {"converged"}
    np.testing.assert_allclose(calm.point, 0.0, atol=1e-8)


def test_nothing_calls_the_host():
    params, row = drawn()
    loss = lambda p: row @ solved(p).point  # noqa: E731
    for function in (loss, jax.grad(loss)):
        assert "callback" not in jax.jit(function).lower(params).as_text()


def test_single_precision_beside_double():
    params, _ = drawn()
    single = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    found = solved(single, tol=1e-6)
    assert found.point.dtype == found.residual.dtype == jnp.float32
    assert found.converged
    # the tolerance over 1 - 0.8, and as much again for rounding
    np.testing.assert_allclose(found.point, solved(params).point, atol=1e-5)


def test_iterates_are_those_of_a_loop():
    params, _ = drawn()
    now = jnp.zeros(12)
    history = iterate(lambda z: layer(params, z), now, 4)
    for held in history:
        np.testing.assert_allclose(held, now, atol=1e-15)
        now = layer(params, now)
    np.testing.assert_allclose(distances(history, now), np.linalg.norm(history - now[None], axis=1))


def test_rate_of_exact_and_of_swinging_errors():
    times = jnp.arange(400.0)
    np.testing.assert_allclose(measured_rate(0.9**times), 0.9, rtol=1e-12)
    # a complex pair: single ratios run from 0 to 3, the line is within half a percent
    swinging = 0.9**times * (1.1 + jnp.cos(0.7 * times))
    np.testing.assert_allclose(measured_rate(swinging), 0.9, rtol=5e-3)
    # what comes before and after the window does not count
    bent = jnp.where(times < 20, 0.7**times, 0.7**20 * 0.9 ** (times - 20))
    np.testing.assert_allclose(measured_rate(jnp.maximum(bent, 1e-12)), 0.9, rtol=1e-12)
    assert jnp.isnan(measured_rate(jnp.ones(10)))
    assert jnp.isnan(measured_rate(jnp.asarray([1.0, 1e-4, 0.0])))


def test_rates_at_the_point_are_those_of_numpy():
    (matrix, bias), _ = drawn()
    point = solved((matrix, bias)).point
    jacobian = np.asarray((1.0 - point**2)[:, None] * matrix)
    found = local_rates(lambda z: layer((matrix, bias), z), point)
    np.testing.assert_allclose(found.radius, spectral_radius(jacobian), rtol=1e-12)
    np.testing.assert_allclose(found.norm, np.linalg.norm(jacobian, 2), rtol=1e-12)
    assert found.radius <= found.norm <= 0.8
    np.testing.assert_allclose(
        jacobian_at(lambda z: jnp.tanh(z @ matrix.T + bias[None]), point[None]),
        jacobian,
        atol=1e-14,
    )


@jax.jit
@jax.vmap
def rates(matrix, bias, start):
    step = lambda z: jnp.tanh(matrix @ z + bias)  # noqa: E731
    found = solve_fixed_point(step, start, tol=TIGHT)
    errors = distances(iterate(step, start, 400), found.point)
    return measured_rate(errors), local_rates(step, found.point), found.converged


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("radius", [0.5, 0.9])
def test_errors_fall_by_the_spectral_radius_at_the_point(family, radius):
    """Logarithms differ by 10 % in the median and 25 % at most, whatever sigma_1 says."""
    matrices = jnp.stack([loop_matrix(family, seed, radius) for seed in range(8)])
    bias, start = jnp.asarray(np.random.default_rng(99).standard_normal((2, 8, SIZE)))
    rate, local, converged = rates(matrices, 0.3 * bias, start)
    # low rank is far from normal: at 0.9 one of its starts ends in a cycle, and that is told
    assert jnp.sum(converged) >= (7 if family == "low-rank" else 8)
    gap = np.abs(np.log(rate) / np.log(local.radius) - 1.0)[converged]
    assert np.median(gap) < 0.1
    assert np.max(gap) < 0.25
    assert jnp.all(local.radius <= local.norm)


@pytest.mark.parametrize("family", ["orthogonal", "symmetric", "circulant"])
def test_without_a_bias_a_normal_matrix_gives_its_own_rate(family):
    """The slope is 1 at 0; from |z| = 8e-3 on tanh lowers the rate by some |z|^2 / 64."""
    matrix = loop_matrix(family, 0, 0.8)
    start = jnp.linalg.eigh(matrix @ matrix.T)[1][:, -1]  # of the largest eigenvalues
    errors = distances(
        iterate(lambda z: jnp.tanh(matrix @ z), 1e-3 * SIZE**0.5 * start, 150), 0.0 * start
    )
    np.testing.assert_allclose(measured_rate(errors), 0.8, rtol=1e-8)


def test_adjoint_against_central_differences():
    params, row = drawn()
    point = solved(params).point
    weight = implicit_adjoint(lambda z: layer(params, z), point, row[None])[0]
    by_matrix, by_bias = jax.vjp(lambda p: layer(p, point), params)[1](weight)[0]
    value = jax.jit(lambda p: row @ solved(p).point)
    for entry in [(0, 0), (3, 7), (11, 2)]:
        move = jnp.zeros((12, 12)).at[entry].set(1e-5)
        ends = [value((params[0] + sign * move, params[1])) for sign in (1, -1)]
        # truncation 1e-10, and 1e-13 of the solve over the step
        np.testing.assert_allclose(by_matrix[entry], (ends[0] - ends[1]) / 2e-5, atol=1e-8)
    ends = [value((params[0], params[1].at[4].add(sign * 1e-5))) for sign in (1, -1)]
    np.testing.assert_allclose(by_bias[4], (ends[0] - ends[1]) / 2e-5, atol=1e-8)


def test_derivative_of_the_solver_is_that_of_an_unrolled_loop():
    params, row = drawn()
    unrolled = lambda p: row @ iterate(lambda z: layer(p, z), 0.0 * row, 200)[-1]  # noqa: E731
    direct = lambda p: row @ solved(p).point  # noqa: E731
    wanted, found = jax.grad(unrolled)(params), jax.grad(direct)(params)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)  # the tolerance, over (1 - 0.8)^2
    move = jax.tree.map(jnp.ones_like, params)
    forward = jax.jvp(direct, (params,), (move,))[1]
    np.testing.assert_allclose(forward, sum(jnp.sum(one) for one in wanted), rtol=1e-10)
    # how it was reached has no derivative
    told = lambda p: solved(p).residual + solved(p).iterations.astype(float)  # noqa: E731
    assert all(jnp.all(one == 0) for one in jax.grad(told)(params))


def test_derivatives_of_a_batch_are_those_of_its_rows():
    params, row = drawn()
    biases = jnp.stack([params[1], 2.0 * params[1], 0.0 * params[1]])
    loss = lambda bias: row @ solved((params[0], bias)).point  # noqa: E731
    found = jax.vmap(jax.grad(loss))(biases)
    for one, bias in zip(found, biases, strict=True):
        np.testing.assert_allclose(one, jax.grad(loss)(bias), atol=1e-13)


def test_adjoint_by_iteration_is_the_direct_one():
    params, row = drawn(norm=0.9)
    rows = jnp.stack([row, 1e-6 * row, 0.0 * row])
    point = solved(params).point
    step = lambda z: layer(params, z)  # noqa: E731
    wanted = implicit_adjoint(step, point, rows)
    found = iterate_adjoint(step, point, rows)
    assert words(found.status) == {"converged"}
    # relative to the row: 1e-12 over 1 - 0.9
    gap = jnp.linalg.norm(found.point - wanted, axis=1)
    assert jnp.all(gap <= 1e-11 * jnp.linalg.norm(rows, axis=1))
    assert words(iterate_adjoint(step, point, rows, max_steps=3).status[:2]) == {"not_converged"}


def test_adjoint_of_points_with_several_axes():
    params, row = drawn(size=6)
    step = lambda z: jnp.tanh(z @ params[0].T + params[1][None])  # noqa: E731
    point = solve_fixed_point(step, jnp.zeros((2, 6)), tol=TIGHT).point
    rows = jnp.stack([jnp.stack([row, 2.0 * row])] * 3)
    found = implicit_adjoint(step, point, rows)
    one = implicit_adjoint(lambda z: layer(params, z), point[0], row[None])[0]
    np.testing.assert_allclose(found[0], jnp.stack([one, 2.0 * one]), atol=1e-12)
    np.testing.assert_allclose(iterate_adjoint(step, point, rows).point, found, atol=1e-11)


def test_one_step_derivative():
    """At q = 0.8 nearly along the exact one, and along it where J is a multiple of 1."""
    found = []
    for seed in range(6):
        params, row = drawn(seed, size=SIZE)
        point = solved(params).point
        found.append(float(one_step_cosine(layer, params, point, row)))
        exact = jax.grad(lambda p: row @ solved(p).point)(params)  # noqa: B023
        cheap = jax.grad(lambda p: row @ layer(p, point))(params)  # noqa: B023
        overlap = [
            sum(jnp.sum(x * y) for x, y in zip(a, b, strict=True))
            for a, b in ((exact, cheap), (exact, exact), (cheap, cheap))
        ]
        wanted = overlap[0] / jnp.sqrt(overlap[1] * overlap[2])
        np.testing.assert_allclose(found[-1], wanted, rtol=1e-10)
    assert 0.93 < min(found) < max(found) < 0.99
    bare = one_step_cosine(lambda p, z: 0.6 * z + jnp.sin(p), jnp.ones(5), jnp.ones(5), row[:5])
    np.testing.assert_allclose(bare, 1.0, rtol=1e-14)


def test_kernel_of_an_equilibrium_layer_is_made_of_its_two_grams():
    """Sensitivities phi' * w: the kernel of outputs A z* by S is (z z^T) * (delta delta^T)."""
    (matrix, bias), _ = drawn()
    rng = np.random.default_rng(5)
    biases = bias[None] + jnp.asarray(rng.standard_normal((4, 12)))
    readout = jnp.asarray(rng.standard_normal((3, 12)))
    outputs = lambda s: jax.vmap(lambda b: readout @ solved((s, b)).point)(biases)  # noqa: E731
    by_matrix = jax.jacrev(outputs)(matrix).reshape(4, 3, -1)
    points = jax.vmap(lambda b: solved((matrix, b)).point)(biases)
    weights = jax.vmap(
        lambda b, z: implicit_adjoint(lambda now: layer((matrix, b), now), z, readout)
    )(biases, points)
    kernel = layer_kernel(act_gram(points), (1.0 - points**2)[:, None, :] * weights)
    wanted = jnp.einsum("mcp,nep->mcne", by_matrix, by_matrix)
    np.testing.assert_allclose(kernel, wanted, rtol=1e-12, atol=1e-12 * jnp.max(wanted))


def test_refusals():
    step = lambda z: 0.5 * z  # noqa: E731
    with pytest.raises(InputError, match="tol"):
        solve_fixed_point(step, jnp.ones(2), tol=0.0)
    with pytest.raises(InputError, match="max_steps"):
        solve_fixed_point(step, jnp.ones(2), max_steps=0)
    with pytest.raises(InputError, match="tol"):
        iterate_adjoint(step, jnp.ones(2), jnp.ones((1, 2)), tol=-1.0)
    with pytest.raises(InputError, match="n_steps"):
        iterate(step, jnp.ones(2), 0)
