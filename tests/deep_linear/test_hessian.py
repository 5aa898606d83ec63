"""Closed Hessian against jax.hessian, finite differences and the classification table."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.canonical import canonical_spectrum, canonical_weights
from gramdyn.deep_linear.hessian import (
    critical_step,
    hessian_matrix,
    hessian_product,
    hessian_spectrum,
    inertia,
    quadratic_form,
    sharpness,
)
from gramdyn.deep_linear.products import whole_map
from gramdyn.deep_linear.tangent import jacobian_rank, tangent_kernel_matrix

TARGET = np.diag([3.0, 2.0, 1.0])
SHAPES = [(3, 2), (3, 4, 2), (2, 3, 1, 4), (3, 2, 3, 2, 3)]


def random_weights(widths, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.normal(size=(up, low)) for low, up in pairwise(widths))


def random_problem(widths, seed=0):
    rng = np.random.default_rng(seed + 100)
    inputs = rng.normal(size=(widths[0], 7))
    target = rng.normal(size=(widths[-1], widths[0]))
    return random_weights(widths, seed), target, inputs @ inputs.T / 7


def loss(weights, target, moment):
    found = np.eye(len(moment))
    for weight in weights:
        found = weight @ found
    rest = target - found
    return 0.5 * jnp.sum(rest * (rest @ moment))


def split(vector, weights):
    ends = np.cumsum([w.size for w in weights])[:-1]
    return [p.reshape(w.shape) for p, w in zip(np.split(vector, ends), weights, strict=True)]


def join(direction):
    return np.concatenate([np.ravel(step) for step in direction])


def traced_hessian(weights, target, moment):
    """jax.hessian of the loss, as a matrix."""

    def of_vector(vector):
        parts, start = [], 0
        for w in weights:
            parts.append(vector[start : start + w.size].reshape(w.shape))
            start += w.size
        return loss(parts, target, moment)

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.hessian(of_vector))(jnp.asarray(join(weights))))


@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize("white", [True, False])
def test_matrix_product_and_form_are_those_of_autodiff(widths, white):
    weights, target, moment = random_problem(widths)
    given = None if white else moment
    wanted = traced_hessian(weights, target, np.eye(widths[0]) if white else moment)
    scale = np.abs(wanted).max()  # roundoff of some ten sums, relative to the largest entry
    assert np.abs(hessian_matrix(weights, target, given) - wanted).max() < 1e-13 * scale
    direction = random_weights(widths, seed=5)
    flat = join(direction)
    got = join(hessian_product(weights, target, direction, given))
    assert np.abs(got - wanted @ flat).max() < 1e-13 * scale * np.abs(flat).sum()
    form = quadratic_form(weights, target, direction, given)
    assert form == pytest.approx(flat @ wanted @ flat, rel=1e-12)


def test_form_is_the_second_difference_of_the_loss():
    weights, target, moment = random_problem((3, 4, 3, 2), seed=3)
    direction = random_weights((3, 4, 3, 2), seed=4, scale=0.3)

    def at(t):
        moved = [w + t * v for w, v in zip(weights, direction, strict=True)]
        return float(loss(moved, target, moment))

    h = 1e-3  # error h^2 times the fourth derivative, some 1e-6 of the form; roundoff 1e-9
    second = (at(h) - 2 * at(0.0) + at(-h)) / h**2
    assert quadratic_form(weights, target, direction, moment) == pytest.approx(second, rel=1e-5)


@pytest.mark.parametrize("widths", [(3, 4, 2), (3, 2, 3, 2, 3), (8, 12, 12, 8)])
def test_spectrum_is_that_of_the_matrix(widths):
    weights, target, moment = random_problem(widths, seed=1)
    wanted = np.linalg.eigvalsh(hessian_matrix(weights, target, moment))
    dense = hessian_spectrum(weights, target, input_moment=moment)
    assert np.abs(dense - wanted).max() < 1e-12 * wanted[-1]
    ends = hessian_spectrum(weights, target, "extremal", 3, moment)
    # Lanczos to 1e-12 of twice the largest magnitude, for the residual; eigenvalues do better.
    assert np.abs(ends - np.r_[wanted[:3], wanted[-3:]]).max() < 1e-9 * wanted[-1]


def test_extremal_gives_everything_where_both_ends_meet():
    weights, target, _ = random_problem((2, 2, 2))
    assert np.array_equal(
        hessian_spectrum(weights, target, "extremal", 4), hessian_spectrum(weights, target)
    )
    assert len(hessian_spectrum(weights, target, "extremal", 99)) == 8


@pytest.mark.parametrize("widths", [(3, 60, 3), (3, 20, 20, 3), (10, 16, 16, 16, 10)])
def test_lanczos_counts_equal_eigenvalues(widths):
    # Wide enough for Lanczos: p and -p many times at the origin of two layers, 0 many times at
    # the canonical points of more, and eigenvalues in pairs at the top.
    target = np.diag([2.0, 2.0, 1.0])
    if widths[0] == 10:
        target = np.random.default_rng(0).normal(size=(10, 10))
    for chosen in [(), (0,), (0, 1, 2)]:
        weights = canonical_weights(target, widths, chosen)
        wanted = canonical_spectrum(target, widths, chosen)
        got = hessian_spectrum(weights, target, "extremal", 6)
        # Measured 3e-15 of the largest; the residual is asked to be 1e-12 of it.
        assert np.abs(got - np.r_[wanted[:6], wanted[-6:]]).max() < 1e-11 * max(1, wanted[-1])


CLASSES = [
    # widths, learned modes, entries {(layer, row, column): value}, lam_min, inertia
    ((3, 3, 3), (), {}, -3, (9, 9, 0)),
    ((3, 3, 3), (0,), {}, -2, (4, 9, 5)),
    ((3, 3, 3), (0, 1), {}, -1, (1, 9, 8)),
    ((3, 3, 3), (1,), {}, -3, (5, 8, 5)),
    ((3, 3, 3), (0, 1, 2), {}, 0, (0, 9, 9)),
    ((3, 1, 3), (0,), {}, 0, (0, 5, 1)),
    ((3, 1, 3), (1,), {}, -1, (1, 4, 1)),
    ((3, 3, 3, 3), (), {}, 0, (0, 0, 27)),
    ((3, 3, 3, 3), (0,), {}, 0, (0, 5, 22)),
    ((3, 3, 3, 3), (0, 1), {}, 0, (0, 8, 19)),
    ((3, 3, 3, 3), (1,), {}, 2 ** (1 / 3) * (2 - 3), (1, 4, 22)),
    *[((3,) * 4, (), {(j, i, i): 1.0 for i in range(3)}, -3, (9, 9, 9)) for j in range(3)],
    ((3, 3, 3, 3), (), {(0, 0, 0): 1.0, (2, 1, 0): 1.0}, -3.140055, (5, 5, 17)),
    ((3, 3, 3, 3), (0,), {(1, 1, 1): 1.0}, -2, (2, 7, 18)),
    ((3, 3, 3, 3), (0,), {(0, 2, 2): 1.0}, -1, (2, 7, 18)),
    ((3, 3, 2, 3), (0, 1), {}, 0, (0, 8, 13)),
    ((3,) * 5, (), {}, 0, (0, 0, 36)),
    ((3,) * 5, (0,), {}, 0, (0, 5, 31)),
    *[((3,) * 5, (), {(j, i, i): 1.0 for i in range(3)}, 0, (0, 0, 36)) for j in (0, 1)],
    *[
        ((3,) * 5, (), {(j, i, i): 1.0 for i in range(3) for j in pair}, -3, (9, 9, 18))
        for pair in [(1, 2), (0, 3)]
    ],
    *[((3,) * 5, (0,), {(j, 1, 1): 1.0}, 0, (0, 5, 31)) for j in (0, 1)],
    ((3,) * 5, (0,), {(1, 1, 1): 1.0, (2, 1, 1): 1.0}, -2, (2, 7, 27)),
    ((3,) * 5, (1,), {}, -(2**0.5), (1, 4, 31)),
]


@pytest.mark.parametrize(("widths", "chosen", "entries", "lowest", "signs"), CLASSES)
def test_classification_table(widths, chosen, entries, lowest, signs):
    weights = canonical_weights(TARGET, widths, chosen)
    for (layer, row, column), value in entries.items():
        weights[layer][row, column] += value
    spectrum = hessian_spectrum(weights, TARGET)
    # 1e-6 is the last digit of -3.140055; the others are exact and hold to roundoff.
    assert spectrum[0] == pytest.approx(lowest, abs=1e-6 if lowest == -3.140055 else 1e-12)
    assert inertia(spectrum) == signs


def test_inertia_is_that_of_the_whole_orbit():
    rng = np.random.default_rng(2)
    weights = canonical_weights(TARGET, (3, 4, 3, 3), (1,))
    weights[1][2, 3] = 1.0
    wanted = hessian_spectrum(weights, TARGET)
    for _ in range(20):
        copy = turned(weights, rng)
        spectrum = hessian_spectrum(copy, TARGET)
        assert inertia(spectrum) == inertia(wanted)
        assert np.abs(spectrum - wanted).max() > 1e-3


def turned(weights, rng):
    """A random gauge copy: the same map by other weights, of condition e^2 at most."""
    bases = [np.eye(weights[0].shape[1])]
    for width in [w.shape[0] for w in weights[:-1]]:
        one, two = (np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(2))
        bases.append(one * np.exp(rng.uniform(-1, 1, size=width)) @ two)
    bases.append(np.eye(weights[-1].shape[0]))
    triples = zip(weights, bases, bases[1:], strict=False)
    return tuple(up @ w @ np.linalg.inv(low) for w, low, up in triples)


def map_jacobian(weights):
    """Derivative of the map by unit directions, with no product rule: a difference is exact."""
    columns = []
    for j, weight in enumerate(weights):
        for k in range(weight.size):
            unit = np.zeros(weight.size)
            unit[k] = 1.0
            moved = (*weights[:j], weight + unit.reshape(weight.shape), *weights[j + 1 :])
            columns.append(np.ravel(whole_map(moved) - whole_map(weights)))
    return np.array(columns).T


@pytest.mark.parametrize("widths", [*SHAPES, (4, 3, 3, 3)])
def test_tangent_kernel_and_rank_of_the_jacobian(widths):
    rng = np.random.default_rng(6)
    for _ in range(10):
        weights = random_weights(widths, int(rng.integers(1 << 30)))
        for weight in weights:  # ranks fall at random, to zero at times
            weight[int(rng.integers(weight.shape[0])) :] = 0.0
        jacobian = map_jacobian(weights)
        kernel = tangent_kernel_matrix(weights)
        assert np.abs(kernel - jacobian @ jacobian.T).max() < 1e-12 * max(1, kernel.max())
        assert jacobian_rank(weights) == np.linalg.matrix_rank(jacobian, tol=1e-9)


def test_at_zero_residual_kernel_and_hessian_share_eigenvalues():
    weights = turned(canonical_weights(TARGET, (3, 4, 3), (0, 1, 2)), np.random.default_rng(0))
    kernel = np.linalg.eigvalsh(tangent_kernel_matrix(weights))
    assert np.abs(hessian_spectrum(weights, TARGET)[-9:] - kernel).max() < 1e-12 * kernel[-1]


@pytest.mark.parametrize(("depth", "known"), [(2, 4.0), (3, 7.5595), (4, 11.3137)])
def test_balanced_minimum_is_the_flattest(depth, known):
    rng = np.random.default_rng(depth)
    target = np.diag([2.0, 1.0])
    widths = (2, *[3] * (depth - 1), 2)
    flat = canonical_weights(target, widths, (0, 1))
    bound = depth * 2.0 ** (2 - 2 / depth)
    assert sharpness(flat, target) == pytest.approx(bound, rel=1e-12)
    assert bound == pytest.approx(known, abs=5e-5)  # the digits it is stated to
    assert critical_step(target, depth) == pytest.approx(2 / bound, rel=1e-14)
    ratios = [sharpness(turned(flat, rng), target) / bound for _ in range(200)]
    assert min(ratios) >= 1 - 1e-12  # roundoff of the gauge copies


def test_critical_step_without_curvature():
    assert critical_step(np.zeros((2, 2)), 1) == 2.0
    assert critical_step(np.zeros((2, 2)), 2) == float("inf")
    assert critical_step(np.diag([5.0, 1.0]), 1) == 2.0


def test_critical_step_is_for_white_inputs_and_says_so():
    weights = canonical_weights(TARGET, (3, 3, 3), (0, 1, 2))
    step = critical_step(TARGET, 2)
    assert 2 / sharpness(weights, TARGET) == pytest.approx(step, rel=1e-12)
    assert 2 / sharpness(weights, TARGET, 4 * np.eye(3)) == pytest.approx(step / 4, rel=1e-12)
    for words in ("white inputs", "zero residual", "eta_c = 2", "infinite"):
        assert words in " ".join(critical_step.__doc__.split())
    assert [critical_step(np.zeros((2, 2)), n) for n in (1, 2, 3)] == [2.0, np.inf, np.inf]


def test_zero_target_and_zero_weights_have_no_curvature():
    weights = (np.zeros((20, 3)), np.zeros((20, 20)), np.zeros((3, 20)))
    assert np.array_equal(hessian_spectrum(weights, np.zeros((3, 3)), "extremal", 2), np.zeros(4))
    assert sharpness(weights, TARGET) == 0.0
    assert inertia(np.zeros(4)) == (0, 0, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda w, t: hessian_spectrum(w, t, "sparse"), "mode"),
        (lambda w, t: inertia([1.0], -1.0), "tolerance"),
        (lambda w, t: hessian_spectrum(w, t, "extremal", 0), "count"),
        (lambda w, t: hessian_spectrum(w, t[:2]), "target"),
        (lambda w, t: hessian_matrix(w, t * np.nan), "target"),
        (lambda w, t: hessian_matrix((w[0], w[1][:, :2]), t), "weights"),
        (lambda w, t: hessian_product(w, t, w[:1]), "direction"),
        (lambda w, t: quadratic_form(w, t, w[::-1] + w), "direction"),
        (lambda w, t: quadratic_form(w, t, w, np.eye(2)), "input_moment"),
        (lambda w, t: quadratic_form(w, t, w, -np.eye(3)), "input_moment"),
        (lambda w, t: critical_step(t, 0), "n_layers"),
        (lambda w, t: inertia([1.0, np.inf]), "eigenvalues"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, words):
    weights = random_weights((3, 4, 3))
    with pytest.raises(InputError, match=words) as caught:
        call(weights, TARGET)
    assert "\n" not in str(caught.value)
