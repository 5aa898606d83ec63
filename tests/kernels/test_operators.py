"""Operators between layers against formed matrices, closed forms and central differences."""

from itertools import pairwise, product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import random_network

from gramdyn import InputError, init_network
from gramdyn.data import gaussian
from gramdyn.kernels import (
    Path,
    against,
    along,
    apply_operator,
    estimate_traces,
    gram_operator_velocity,
    operator_matrix,
    operator_spectra,
    operator_traces,
    operator_velocity,
    reversed_path,
    top_operator_eigenvalues,
    triple_field,
)
from gramdyn.systems import SquaredLoss, make_system

# Widths from start to end. Basis vectors go through in blocks of 8: starts below it, at it, at
# twice it and beside it.
WIDTHS = ((5, 7), (8, 6), (17, 4), (7, 5, 6), (16, 3, 9), (9, 4, 11, 3))
BY_WIDTHS = pytest.mark.parametrize("widths", WIDTHS, ids=lambda w: "-".join(map(str, w)))
SAMPLES = 4
# float64 sums of a few hundred products
RTOL = 1e-12


def _path(widths: tuple[int, ...], seed: int = 0) -> Path:
    """Random matrices between random masks, those of leaky ReLU: 1 or 0.3."""
    rng = np.random.default_rng(seed)
    masks = [np.where(rng.random((SAMPLES, width)) < 0.5, 1.0, 0.3) for width in widths[:-1]]
    matrices = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(widths)]
    return Path(tuple(map(jnp.asarray, masks)), tuple(map(jnp.asarray, matrices)))


def _jacobians(path: Path) -> list[np.ndarray]:
    """M_p D_mu^p ... M_1 D_mu^1 of each sample as a product of explicit matrices."""
    found = []
    for mu in range(path.masks[0].shape[0]):
        jac = np.eye(path.matrices[0].shape[1])
        for mask, matrix in zip(path.masks, path.matrices, strict=True):
            jac = np.asarray(matrix) @ np.diag(np.asarray(mask)[mu]) @ jac
        found.append(jac)
    return found


def _close(found, wanted, rtol: float = RTOL) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * np.abs(wanted).max())


# Along a path and back.


@pytest.mark.parametrize("rows", [1, 3])
@BY_WIDTHS
def test_along_and_against_are_products_with_explicit_matrices(widths, rows: int) -> None:
    path, rng = _path(widths), np.random.default_rng(1)
    jac = _jacobians(path)
    start = rng.normal(size=(SAMPLES, rows, widths[0]))
    end = rng.normal(size=(SAMPLES, rows, widths[-1]))
    assert (path.n_in, path.n_out) == (widths[0], widths[-1])
    there = np.stack([[jac[mu] @ row for row in start[mu]] for mu in range(SAMPLES)])
    back = np.stack([[jac[mu].T @ row for row in end[mu]] for mu in range(SAMPLES)])
    moved, pulled = along(path, jnp.asarray(start)), against(path, jnp.asarray(end))
    _close(moved, there)
    _close(pulled, back)
    # each the transpose of the other, without the explicit matrices
    np.testing.assert_allclose(np.sum(moved * end), np.sum(pulled * start), rtol=RTOL)


@BY_WIDTHS
def test_the_path_of_one_sample(widths) -> None:
    path = _path(widths)
    field = jnp.asarray(np.random.default_rng(1).normal(size=(1, 2, widths[0])))
    for mu, jac in enumerate(_jacobians(path)):
        _close(along(path.at(mu), field)[0], np.asarray(field)[0] @ jac.T)


@BY_WIDTHS
def test_a_reversed_path_takes_the_transposes_in_the_other_order(widths) -> None:
    """W^{l+1,T} D ... W^{k-1,T} D: masks stay before the matrices they stood behind."""
    rng = np.random.default_rng(2)
    matrices = [rng.normal(size=(b, a)) for a, b in pairwise(widths)]
    masks = [rng.random((SAMPLES, width)) for width in widths[1:]]  # at each matrix's end
    path = reversed_path(Path(tuple(map(jnp.asarray, masks)), tuple(map(jnp.asarray, matrices))))
    found = along(path, jnp.broadcast_to(jnp.eye(widths[-1])[None], (SAMPLES, *[widths[-1]] * 2)))
    for mu in range(SAMPLES):
        wanted = np.eye(widths[-1])
        for mask, matrix in zip(masks[::-1], matrices[::-1], strict=True):
            wanted = matrix.T @ np.diag(mask[mu]) @ wanted
        _close(found[mu].T, wanted)
    again = reversed_path(path)
    for one, other in zip(again.matrices, matrices, strict=True):
        np.testing.assert_array_equal(one, other)


# Operators.


@BY_WIDTHS
def test_operator_matrix_is_the_product_of_two_jacobians(widths) -> None:
    path = _path(widths)
    jac = _jacobians(path)
    for mu, nu in product(range(SAMPLES), repeat=2):
        found = operator_matrix(path, mu, nu)
        _close(found, jac[mu] @ jac[nu].T)
        _close(found.T, operator_matrix(path, nu, mu))
        if mu == nu:
            assert np.linalg.eigvalsh(found)[0] > -1e-13 * np.linalg.norm(found)


@BY_WIDTHS
def test_apply_operator_is_the_sum_over_pairs(widths) -> None:
    path, rng = _path(widths), np.random.default_rng(3)
    mix, field = rng.normal(size=(SAMPLES, SAMPLES)), rng.normal(size=(SAMPLES, widths[-1]))
    wanted = np.zeros_like(field)
    for mu, nu in product(range(SAMPLES), repeat=2):
        wanted[mu] += mix[mu, nu] * (np.asarray(operator_matrix(path, mu, nu)) @ field[nu])
    _close(apply_operator(path, jnp.asarray(mix), jnp.asarray(field)), wanted)


def _fields(depth: int = 4, n_outputs: int = 2, reduction: str = "sum"):
    """Fields of a small network whose layers have forward multipliers."""
    network = random_network(
        jax.random.key(4),
        5,
        (7, 6, 9, 5)[:depth],
        n_outputs,
        activation="leaky_relu",
        parametrization="ntk",
        train_readout=True,
    )
    task = gaussian(n_samples=SAMPLES, n_inputs=5, n_outputs=n_outputs, seed=3)
    system = make_system(network, task, coordinates="weights", loss=SquaredLoss(reduction))
    return system, system.fields(system.initial_state())


def test_pushforward_recursion() -> None:
    """Gamma^{l+1,k} = W^{l+1} D_mu^l Gamma^{l,k} D_nu^l W^{l+1,T}, from Gamma^{k,k} = 1."""
    _, fields = _fields()
    masks = [np.asarray(mask) for mask in fields.masks]
    weights = [float(one.scale) * np.asarray(one.weight) for one in fields.network.layers]
    for start, mu, nu in product(range(4), (0, 1, 3), (0, 2)):
        wanted = np.eye(masks[start].shape[1])
        for end in range(start + 1, 4):
            here, there = np.diag(masks[end - 1][mu]), np.diag(masks[end - 1][nu])
            wanted = weights[end] @ here @ wanted @ there @ weights[end].T
            _close(operator_matrix(fields.push_path(end, start), mu, nu), wanted)


def test_pullback_recursion() -> None:
    """P^{l-1,k} = W^{l,T} D_mu^l P^{l,k} D_nu^l W^l, from P^{k-1,k} = 1."""
    _, fields = _fields()
    masks = [np.asarray(mask) for mask in fields.masks]
    weights = [float(one.scale) * np.asarray(one.weight) for one in fields.network.layers]
    for start, mu, nu in product(range(2, 5), (0, 1, 3), (0, 2)):
        wanted = np.eye(masks[start - 1].shape[1])
        for end in range(start - 2, -1, -1):
            here, there = np.diag(masks[end + 1][mu]), np.diag(masks[end + 1][nu])
            wanted = weights[end + 1].T @ here @ wanted @ there @ weights[end + 1]
            found = operator_matrix(fields.pull_path(end, start), mu, nu)
            _close(found, wanted)
            if end == start - 2:  # the weight-induced Gram operator
                one = weights[end + 1]
                _close(found, one.T @ np.diag(masks[end + 1][mu] * masks[end + 1][nu]) @ one)


# Traces.


@BY_WIDTHS
def test_traces_are_those_of_the_formed_operators(widths) -> None:
    path = _path(widths)
    jac = _jacobians(path)
    wanted = [[np.trace(jac[mu] @ jac[nu].T) for nu in range(SAMPLES)] for mu in range(SAMPLES)]
    found = np.asarray(operator_traces(path))
    _close(found, wanted)
    # a Gram matrix of the Jacobians
    _close(found, found.T)
    assert np.linalg.eigvalsh(found)[0] > -1e-13 * np.linalg.norm(found)


def _probe_variance(path: Path) -> np.ndarray:
    """Variance of v^T A v over random signs, A = J_mu^T J_nu: sum_{i<j} (A_ij + A_ji)^2."""
    jac = _jacobians(path)
    found = np.zeros((SAMPLES, SAMPLES))
    for mu, nu in product(range(SAMPLES), repeat=2):
        a = jac[mu].T @ jac[nu]
        found[mu, nu] = np.sum(np.triu(a + a.T, 1) ** 2)
    return found


@pytest.mark.parametrize("widths", [(9, 12), (7, 5, 6)], ids=str)
def test_estimated_traces(widths) -> None:
    """Unbiased, and of the error they say: their own, the spread over keys, the closed form."""
    path, n_keys = _path(widths), 1000
    keys = jax.random.split(jax.random.key(0), n_keys)
    exact = np.asarray(operator_traces(path))
    spread = {}
    for n_probes in (4, 64):
        of_key = lambda key, p=n_probes: estimate_traces(path, key, p)  # noqa: E731
        mean, error = map(np.asarray, jax.jit(jax.vmap(of_key))(keys))
        assert mean.shape == error.shape == (n_keys, SAMPLES, SAMPLES)
        spread[n_probes] = mean.std(axis=0, ddof=1)
        # ten entries of each of four tables: 4 deviations are met once in 400 such tests
        assert np.all(np.abs(mean.mean(axis=0) - exact) < 4 * spread[n_probes] / n_keys**0.5)
        # 1000 keys know a deviation to 3 %; the fourth moments of few terms add a little
        stated = np.sqrt(np.mean(error**2, axis=0))
        np.testing.assert_allclose(stated / spread[n_probes], 1.0, atol=0.2)
        closed = np.sqrt(_probe_variance(path) / n_probes)
        np.testing.assert_allclose(stated / closed, 1.0, atol=0.1)
        _close(mean[0], mean[0].T)
    np.testing.assert_allclose(spread[4] / spread[64], 4.0, rtol=0.2)


def test_traces_of_diagonal_operators_are_estimated_exactly() -> None:
    """v^T A v = tr A for every v of signs if A is diagonal, so the error is rounding."""
    masks = np.random.default_rng(0).random((SAMPLES, 6))
    path = Path((jnp.asarray(masks),), (2.0 * jnp.eye(6),))
    mean, error = estimate_traces(path, jax.random.key(3), 5)
    _close(mean, 4.0 * masks @ masks.T)
    np.testing.assert_allclose(error, 0.0, atol=1e-14)


# Spectra.


@BY_WIDTHS
def test_spectra_are_squared_singular_values(widths) -> None:
    path = _path(widths)
    found = np.asarray(operator_spectra(path))
    assert found.shape == (SAMPLES, widths[-1])
    for mu, jac in enumerate(_jacobians(path)):
        values = np.linalg.svd(jac, compute_uv=False) ** 2
        padded = np.zeros(widths[-1])  # wide end: the rest of the spectrum is 0
        padded[: len(values)] = values[: widths[-1]]
        _close(found[mu], padded)
        _close(found[mu], np.linalg.eigvalsh(jac @ jac.T)[::-1])


@pytest.mark.parametrize("n_top", [1, 3])
# ends of 6 and 9 neurons are decomposed, ends of 40 iterated
@pytest.mark.parametrize("widths", [(7, 5, 6), (16, 3, 9), (30, 40), (35, 30, 40)], ids=str)
def test_top_eigenvalues_without_the_operator(widths, n_top: int) -> None:
    path = _path(widths)
    found = np.asarray(top_operator_eigenvalues(path, n_top))
    wanted = [np.linalg.svd(jac, compute_uv=False)[:n_top] ** 2 for jac in _jacobians(path)]
    # the iteration's own tolerance is 1e-8 of the largest
    _close(found, wanted, 1e-12 if widths[-1] < 24 else 1e-8)


# Evolution laws.

# A central difference over 1e-6 loses 1e-15 / 1e-6 of an operator of order ten to rounding, and
# 1e-12 to truncation; measured worst 2.3e-9.
STEP, FLOOR = 1e-6, 1e-8


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_operators_evolve_by_their_laws(reduction: str) -> None:
    """Along the gradient flow of the weights, all operators of four layers, masks held."""
    system, fields = _fields(reduction=reduction)
    state = system.initial_state()
    velocity = system.velocity(state)
    moved = [
        system.fields(jax.tree.map(lambda a, v, h=h: a + h * v, state, velocity))
        for h in (STEP, -STEP)
    ]
    for one in moved:  # or the difference is none of the law's
        for before, after in zip(fields.active, one.active, strict=True):
            np.testing.assert_array_equal(before, after)
    layers = fields.network.layers
    rates = [one.scale * dot.weight for one, dot in zip(layers, velocity.layers, strict=True)]
    paths = [("push_path", end, start) for end in range(4) for start in range(end)]
    paths += [("pull_path", end, start) for end in range(3) for start in range(end + 2, 5)]
    sizes = []
    for name, end, start in paths:
        push = name == "push_path"
        drifts = rates[start + 1 : end + 1] if push else rates[end + 1 : start]
        drifts = tuple(drifts) if push else tuple(one.T for one in drifts[::-1])
        for mu, nu in ((0, 0), (1, 3), (3, 2)):
            ops = [operator_matrix(getattr(one, name)(end, start), mu, nu) for one in moved]
            wanted = (ops[0] - ops[1]) / (2 * STEP)
            found = operator_velocity(getattr(fields, name)(end, start), drifts, mu, nu)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=FLOOR)
            sizes.append(float(jnp.abs(wanted).max()))
            if not push and start == end + 2:
                law = _gram_law(fields, end + 1, mu, nu)
                np.testing.assert_allclose(law, wanted, rtol=0, atol=FLOOR)
                _close(law, found)  # two ways to one number: rounding
                _close(law, law.T)
    assert max(sizes) > 1e-2


def _gram_law(fields, layer: int, mu: int, nu: int):
    """s and the squared multiplier times the law of W^T D_mu D_nu W of this layer."""
    one, mask = fields.network.layers[layer], fields.masks[layer]
    law = gram_operator_velocity(
        mask[mu],
        mask[nu],
        one.matrix(),
        fields.sens[layer],
        fields.residual,
        fields.traces[layer].inputs,
    )
    return fields.loss_scale * one.scale**2 * law


def test_operator_velocity_is_the_derivative_along_the_velocities() -> None:
    path, rng = _path((7, 5, 6, 4)), np.random.default_rng(5)
    drifts = tuple(jnp.asarray(rng.normal(size=matrix.shape)) for matrix in path.matrices)

    @eqx.filter_jit
    def wanted(mu, nu):
        form = lambda matrices: operator_matrix(Path(path.masks, matrices), mu, nu)  # noqa: E731
        return jax.jvp(form, (path.matrices,), (drifts,))[1]

    for mu, nu in ((0, 0), (1, 2), (2, 1)):
        found = operator_velocity(path, drifts, mu, nu)
        _close(found, wanted(mu, nu))
        _close(found.T, operator_velocity(path, drifts, nu, mu))


def test_triple_field_and_gram_law_entry_by_entry() -> None:
    rng = np.random.default_rng(6)
    n, n_outputs, width, n_in = 3, 2, 5, 4
    mask, other = np.where(rng.random((2, width)) < 0.5, 1.0, 0.3)
    weight, sens = rng.normal(size=(width, n_in)), rng.normal(size=(n, n_outputs, width))
    residual, act = rng.normal(size=(n, n_outputs)), rng.normal(size=(n, n_in))
    triple, moved = np.zeros((n, n_outputs, n_in)), np.zeros((n_in, n_in))
    for rho, c in product(range(n), range(n_outputs)):
        triple[rho, c] = weight.T @ np.diag(mask) @ np.diag(other) @ sens[rho, c]
        pair = np.outer(act[rho], triple[rho, c])
        moved -= residual[rho, c] * (pair + pair.T)
    some = [jnp.asarray(one) for one in (mask, other, weight, sens, residual, act)]
    _close(triple_field(*some[:4]), triple)
    _close(gram_operator_velocity(*some), moved)


def test_one_probe_has_no_standard_error() -> None:
    path = Path((jnp.ones((2, 3)),), (jnp.ones((4, 3)),))
    with pytest.raises(InputError, match=r"Argument `n_probes` must be at least 2, but is 1"):
        estimate_traces(path, jax.random.key(0), 1)


def test_paths_between_the_wrong_layers_are_refused() -> None:
    network = init_network(jax.random.key(0), 3, (4, 5, 6))
    system = make_system(network, gaussian(n_samples=2, n_inputs=3))
    fields = system.fields(system.initial_state())
    for wrong in ((0, 0), (0, 2), (4, 0), (1, -1)):
        with pytest.raises(InputError, match=r"Argument `start, end` must rise"):
            fields.push_path(*wrong)
    for wrong in ((0, 1), (2, 0), (0, 4), (-1, 2)):
        with pytest.raises(InputError, match=r"Argument `end, start` must lie two layers apart"):
            fields.pull_path(*wrong)
    assert fields.push_path(3, 2).n_out == 1  # up to the readout
    assert fields.pull_path(1, 3).n_in == 6


def test_a_network_in_gram_coordinates_is_refused() -> None:
    task = gaussian(n_samples=2, n_inputs=3)
    network = init_network(jax.random.key(0), 3, (4,))
    there = make_system(network, task, coordinates="gram").start
    with pytest.raises(InputError, match=r"Argument `network` must be in weight coordinates"):
        make_system(there, task)
