"""What no function of the toolbox takes: float32 weights, overflow, and things of other kinds."""

import inspect

import numpy as np
import pytest

from gramdyn import deep_linear
from gramdyn._errors import InputError
from gramdyn.deep_linear import _checks
from gramdyn.deep_linear._points import flatten, norm_of, unflatten

TARGET = np.diag([3.0, 2.0, 1.0])
THREE, TWO = deep_linear.canonical_weights(TARGET, (3, 3, 3, 3), (0,)), (np.eye(3), np.eye(3))
MOVE = tuple(np.ones((3, 3)) for _ in THREE)
MATRIX = np.diag(np.ones(6), -3)
TIMES = np.array([0.0, 1.0])

# Name of each function and input that is good, which every function takes.
WEIGHTS_FIRST = {
    "ball_minimum": (THREE, TARGET, 0.1),
    "classify": (THREE, TARGET),
    "escape_order": (THREE, TARGET),
    "excess_projectors": (THREE,),
    "fitted_order": (THREE, TARGET),
    "follow": (THREE, TARGET, 1.0),
    "hessian_matrix": (THREE, TARGET),
    "hessian_product": (THREE, TARGET, MOVE),
    "hessian_spectrum": (THREE, TARGET),
    "interval_multiplicities": (THREE,),
    "jacobian_rank": (THREE,),
    "jordan_blocks": (THREE,),
    "loss_along": (THREE, TARGET, MOVE),
    "orbit_dimension": (THREE,),
    "origin_manifolds": (TWO, TARGET),
    "product": (THREE, 2, 1),
    "project_onto_level_subspace": (THREE, TARGET, (0,)),
    "quadratic_form": (THREE, TARGET, MOVE),
    "quotient_representative": (THREE, TARGET),
    "riccati_solution": (TWO, TARGET, TIMES),
    "sharpness": (THREE, TARGET),
    "split": (THREE,),
    "tangent_kernel_matrix": (THREE,),
    "unstable_directions": (THREE, TARGET, (1,)),
    "unwhiten_weights": (THREE, np.eye(3)),
    "whiten_weights": (THREE, np.eye(3)),
    "whole_map": (THREE,),
    "widths_of": (THREE,),
}
MATRIX_FIRST = {
    "is_nilpotent": (MATRIX, (3, 3, 3)),
    "nilpotency": (MATRIX, 2),
    "ranks_of_powers": (MATRIX, 2),
}
OTHERS = {
    "algebraic_approach": (3, 1.0, 1.0),
    "canonical_orbit_dimension": ((3, 3, 3), 1),
    "canonical_spectrum": (TARGET, (3, 3, 3), (0,)),
    "canonical_weights": (TARGET, (3, 3, 3), (0,)),
    "canonical_weights_from_subspace": (TARGET, (3, 3, 3), np.eye(3)[:, :1]),
    "critical_points": (TARGET, (3, 2, 3)),
    "critical_step": (TARGET, 2),
    "critical_values": (TARGET, (3, 2, 3)),
    "escape_time": (3, 1.0, 0.1, 0.5),
    "global_minimum": (TARGET, (3, 3, 3)),
    "half_time": (3, 1.0, 0.1),
    "inertia": ([1.0, 2.0],),
    "lambda_balanced_weights": ((3, 3, 3), 0.0, 1.0, 0),
    "leading_half_time": (3, 1.0, 0.1),
    "level_subspace": (TARGET, (3, 3, 3), (0,)),
    "local_rate": (3, [1.0, 2.0]),
    "mode_solution": (3, 1.0, 0.1, TIMES),
    "mode_time": (3, 1.0, 0.1, 0.5),
    "outcomes": ([0.0, 0.0], [0, 0]),
    "plateau_levels": (TARGET,),
    "scalar_two_layer": (1.0, 0.3, 0.2, TIMES),
    "white_target": (TARGET, np.eye(3)),
}
GOOD = WEIGHTS_FIRST | MATRIX_FIRST | OTHERS
# Other kinds of things, and numbers whose squares or powers leave float64 or leave no meaning.
BAD = (
    None,
    "word",
    np.nan,
    np.inf,
    1e200,
    -1e200,
    np.array(1e200),
    np.array([1.0, np.nan]),
    [["a"]],
    [[1, 2], [3]],
    (None,),
    {},
    np.full((3, 3), 1e200),
    np.full((3, 3), np.nan),
    [np.full((3, 3), 1e60)] * 3,
    [np.full((3, 3), 1e200)] * 2,
    [1e200],
)


def _plain(name):
    """The function without the type checks of these tests, as a user has it."""
    return inspect.unwrap(getattr(deep_linear, name))


def _single(value):
    if isinstance(value, tuple):
        return tuple(weight.astype(np.float32) for weight in value)
    return value.astype(np.float32)


def test_every_function_is_in_the_tables():
    public = [n for n in deep_linear.__all__ if inspect.isroutine(getattr(deep_linear, n))]
    assert sorted(public) == sorted(GOOD)


@pytest.mark.parametrize("name", sorted(WEIGHTS_FIRST | MATRIX_FIRST))
def test_float32_weights_are_refused_everywhere_in_one_line(name):
    weights, *rest = GOOD[name]
    with pytest.raises(InputError, match="must be float64, since ranks of float32") as caught:
        getattr(deep_linear, name)(_single(weights), *rest)
    assert "\n" not in str(caught.value)


def test_float32_is_seen_in_lists_one_layer_and_eigenvalues():
    low, rows = THREE[1].astype(np.float32), [list(row) for row in THREE[1].astype(np.float32)]
    for bad in (low, low.astype(np.float16), rows):
        with pytest.raises(InputError, match="float64"):
            deep_linear.orbit_dimension((THREE[0], bad, THREE[2]))
    with pytest.raises(InputError, match="float64"):
        deep_linear.inertia(np.ones(3, dtype=np.float32))
    whole = tuple(np.eye(2, dtype=int) for _ in range(2))  # exact, so it may stay
    assert deep_linear.jordan_blocks(whole).tolist() == [0, 0, 2]


def test_float32_would_have_given_wrong_integers():
    """The ranks of float32 products read as float64, which is what is refused."""
    rng = np.random.default_rng(0)
    exact = [rng.normal(size=(6, 3)) @ rng.normal(size=(3, 6)) for _ in range(3)]
    rounded = [weight.astype(np.float32).astype(np.float64) for weight in exact]
    assert deep_linear.interval_multiplicities(exact)[0, 1] == 3 - 3
    assert deep_linear.jacobian_rank(exact) != deep_linear.jacobian_rank(rounded)


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_bad_values_end_in_one_line_or_in_a_result(name, bad):
    """Never a traceback or a warning (an error in these tests), and no line break if refused."""
    call = _plain(name)
    for place in range(len(GOOD[name])):
        arguments = [*GOOD[name][:place], bad, *GOOD[name][place + 1 :]]
        try:
            call(*arguments)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("bad", [None, 0, 5, "word", 1e200, {}, [np.eye(3) * np.nan]], ids=repr)
@pytest.mark.parametrize("name", sorted(WEIGHTS_FIRST))
def test_what_is_no_weights_is_refused(name, bad):
    with pytest.raises(InputError, match="`weights`"):
        _plain(name)(bad, *GOOD[name][1:])


@pytest.mark.parametrize("name", sorted(WEIGHTS_FIRST))
def test_products_that_overflow_are_refused(name):
    first, *rest = GOOD[name]
    demand = "product is at most 1e150, or products overflow"
    for size in (1e200, 1e80):
        with pytest.raises(InputError, match=demand):
            _plain(name)([size * np.ones_like(weight) for weight in first], *rest)


def test_overflow_counts_norms_above_one_and_not_those_below():
    tiny = (1e140 * np.eye(2), 1e-200 * np.eye(2), 1e9 * np.eye(2))  # partial products stay finite
    assert deep_linear.whole_map(tiny)[0, 0] == pytest.approx(1e-51)
    with pytest.raises(InputError, match="1e152"):
        deep_linear.whole_map((*tiny[:2], 1e12 * np.eye(2)))
    # Frobenius norms of 310 layers multiply to 1e155, but no product overflows.
    assert np.array_equal(deep_linear.whole_map([np.eye(10)] * 310), np.eye(10))
    # A norm of 1e200 cannot be had by squares.
    with pytest.raises(InputError, match="product of 1e200"):
        deep_linear.whole_map((1e200 * np.eye(2),))
    with pytest.raises(InputError, match="overflow"):
        deep_linear.nilpotency(1e60 * np.eye(6), 2)
    with pytest.raises(InputError, match="`input_moment`"):
        deep_linear.hessian_spectrum(TWO, TARGET, input_moment=1e151 * np.eye(3))
    with pytest.raises(InputError, match="`direction`"):
        deep_linear.quadratic_form(TWO, TARGET, tuple(1e80 * w for w in TWO))
    with pytest.raises(InputError, match="`times`"):  # no loop of 1e20 substeps
        deep_linear.riccati_solution(TWO, TARGET, np.array([1e20]))
    assert norm_of((np.full((2, 2), 1e200),)) == pytest.approx(2e200)


@pytest.mark.parametrize("bad", [None, 5, "12", {}, (3.0, 3, 3), (3, True, 3), (3,), 3.5], ids=repr)
def test_what_are_no_widths_are_refused(bad):
    for name, place in (
        ("canonical_weights", 1),
        ("critical_points", 1),
        ("global_minimum", 1),
        ("level_subspace", 1),
        ("canonical_orbit_dimension", 0),
        ("lambda_balanced_weights", 0),
        ("is_nilpotent", 1),
    ):
        arguments = [*GOOD[name][:place], bad, *GOOD[name][place + 1 :]]
        with pytest.raises(InputError, match="`widths`"):
            _plain(name)(*arguments)


@pytest.mark.parametrize("bad", [0, None, "0", (0.0,), ([0],), (True,), (0, 0), (3,)], ids=repr)
def test_what_are_no_modes_is_refused(bad):
    for name in ("canonical_weights", "canonical_spectrum", "level_subspace"):
        with pytest.raises(InputError, match="`chosen`"):
            _plain(name)(TARGET, (3, 3, 3), bad)
    if bad is not None:  # there it means all modes
        with pytest.raises(InputError, match="`modes`"):
            _plain("unstable_directions")(THREE, TARGET, bad)


@pytest.mark.parametrize(
    "bad", [None, "1", [1.0], np.ones(2), np.nan, np.inf, 1e200, 10**400, 1j], ids=repr
)
def test_what_are_no_numbers_is_refused(bad):
    for name, place, told in (
        ("mode_solution", 1, "sigma"),
        ("mode_solution", 2, "start"),
        ("mode_time", 3, "end"),
        ("half_time", 1, "sigma"),
        ("leading_half_time", 2, "start"),
        ("scalar_two_layer", 0, "sigma"),
        ("scalar_two_layer", 1, "first"),
        ("scalar_two_layer", 2, "second"),
        ("escape_time", 1, "sigma"),
        ("escape_time", 2, "delta"),
        ("algebraic_approach", 2, "time"),
        ("lambda_balanced_weights", 1, "lam"),
        ("lambda_balanced_weights", 2, "scale"),
        ("ball_minimum", 2, "radius"),
    ):
        arguments = [*GOOD[name][:place], bad, *GOOD[name][place + 1 :]]
        with pytest.raises(InputError, match=f"`{told}`"):
            _plain(name)(*arguments)


def test_powers_that_leave_float64_are_refused():
    for call, told in (
        (lambda: deep_linear.scalar_two_layer(1.0, 1e80, 1.0, TIMES), "first"),
        (lambda: deep_linear.escape_time(4, 1.0, 1e100), "delta"),
        (lambda: deep_linear.escape_time(4, 1.0, 1e-200), "delta"),
        (lambda: deep_linear.algebraic_approach(3, 1.0, 1e-120), "time"),
        (lambda: deep_linear.algebraic_approach(3, 1e-140, 1e-190), "time"),
        (lambda: deep_linear.ball_minimum(THREE, TARGET, 1e-120), "radius"),
        (lambda: deep_linear.local_rate(9, [1e200]), "singular_values"),
    ):
        with pytest.raises(InputError, match=f"`{told}`"):
            call()


@pytest.mark.parametrize("kind", [int, np.int64, np.float32])
def test_whole_numbers_and_numpy_numbers_are_numbers(kind):
    two, one, three = kind(2), kind(1), kind(3)
    checked = _checks.check_scalar("sigma", two, above=0)
    assert checked == 2.0
    assert type(checked) is float
    for name, arguments in (
        ("mode_solution", (3, two, one, TIMES)),
        ("mode_time", (3, three, one, two)),
        ("half_time", (3, three, one)),
        ("leading_half_time", (3, three, one)),
        ("scalar_two_layer", (two, one, three, TIMES)),
        ("escape_time", (3, two, one, three)),
        ("algebraic_approach", (3, two, three)),
        ("local_rate", (3, (three, two, one))),
    ):
        depth = 0 if name != "scalar_two_layer" else None
        plain = [
            float(x) if isinstance(x, kind) and i != depth else x for i, x in enumerate(arguments)
        ]
        plain = [[3.0, 2.0, 1.0] if isinstance(x, tuple) else x for x in plain]
        np.testing.assert_array_equal(
            _plain(name)(*arguments), getattr(deep_linear, name)(*plain), err_msg=name
        )


def test_ints_pass_the_annotations():
    assert deep_linear.half_time(3, 2, 1) == 0.0
    assert deep_linear.local_rate(1, (3, 2, 1)) == 1.0
    weights = deep_linear.lambda_balanced_weights((3, 3, 3), 0, 1, 0)
    assert np.abs(weights[1].T @ weights[1] - weights[0] @ weights[0].T).max() < 1e-14


def test_layers_of_a_product_out_of_range_are_refused():
    for upper, lower, told in ((4, 1, "upper"), (-1, 1, "upper"), (2, 0, "lower"), (2, 4, "lower")):
        with pytest.raises(InputError, match=f"`{told}`"):
            deep_linear.product(THREE, upper, lower)
    assert np.array_equal(deep_linear.product(THREE, 0, 1), np.eye(3))


def test_tolerance_within_the_noise_gives_no_negative_multiplicities():
    """W_1 counts as zero and W_2 W_1 does not: no weights have such ranks."""
    weights = (1e-11 * np.eye(2), 1e3 * np.eye(2))
    with pytest.raises(InputError, match=r"`tolerance` must suit .* but is 1e-10"):
        deep_linear.interval_multiplicities(weights)
    with pytest.raises(InputError, match="`tolerance`"):
        deep_linear.jordan_blocks(weights)
    assert deep_linear.interval_multiplicities(weights, 1e-12)[0, 2] == 2


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_vectors_become_weights_and_back_with_batch_axes(lead):
    weights = (np.zeros((4, 3)), np.zeros((2, 4)))
    flat = np.random.default_rng(0).normal(size=(*lead, 20))
    parts = unflatten(flat, weights)
    assert [part.shape for part in parts] == [(*lead, 4, 3), (*lead, 2, 4)]
    assert np.array_equal(flatten(parts), flat)
    assert np.array_equal(parts[0].reshape(*lead, -1), flat[..., :12])
