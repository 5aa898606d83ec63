"""Nilpotency by powers and traces, beside what computed eigenvalues say."""

import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.nilpotent import is_nilpotent, nilpotency, ranks_of_powers
from gramdyn.kernels.adjacency import adjacency, adjacency_velocity, corner

CASES = {2: (3, 4, 2), 3: (3, 4, 4, 3), 5: (3, 4, 4, 4, 4, 3)}


def _matrix(widths: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pairs = zip(widths[1:], widths[:-1], strict=True)
    return np.array(adjacency([jnp.asarray(rng.normal(size=shape)) for shape in pairs]))


def _descend(matrix: np.ndarray, widths: tuple[int, ...], steps: int, rate: float) -> np.ndarray:
    target = np.random.default_rng(9).normal(size=(widths[-1], widths[0]))
    goal = corner(jnp.asarray(target), widths)
    found = jnp.asarray(matrix)
    for _ in range(steps):
        found = found + rate * adjacency_velocity(found, goal, len(widths) - 1)
    return np.array(found)


@pytest.mark.parametrize("n_layers", CASES)
def test_descent_stays_nilpotent_to_the_last_bit(n_layers: int) -> None:
    widths = CASES[n_layers]
    start = _matrix(widths)
    after = _descend(start, widths, 20, 1e-3)
    assert np.max(np.abs(after - start)) > 1e-3
    for matrix in (start, after):
        found = nilpotency(matrix, n_layers)
        assert found.excess == 0.0
        assert not np.any(found.traces)
        assert is_nilpotent(matrix, widths)
        assert not np.any(np.linalg.eigvals(matrix))  # exact in this order of the nodes


@pytest.mark.parametrize(("n_layers", "seen"), [(2, 1e-6), (3, 1e-5), (5, 5e-4)])
def test_eigenvalues_of_a_rotated_basis_say_nothing(n_layers: int, seen: float) -> None:
    widths = CASES[n_layers]
    matrix = _matrix(widths)
    n = len(matrix)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(n, n)))[0]
    rotated = rotation @ matrix @ rotation.T
    assert np.max(np.abs(np.linalg.eigvals(rotated))) > seen
    found = nilpotency(rotated, n_layers)
    # Powers and traces carry rounding of their size, no root of it.
    assert found.excess < 1e-14 * found.scale[n_layers]
    assert np.all(np.abs(found.traces) < 1e-14 * found.scale)
    np.testing.assert_array_equal(
        ranks_of_powers(rotated, n_layers), ranks_of_powers(matrix, n_layers)
    )


def test_other_matrices_are_not_nilpotent() -> None:
    widths = (2, 2, 2)
    loop = _matrix(widths)
    loop[0, 5] = 1.0  # from the outputs back to the inputs
    found = nilpotency(loop, 2)
    values = np.linalg.eigvals(loop)
    wanted = [np.sum(values**k).real for k in range(1, 7)]
    np.testing.assert_allclose(found.traces, wanted, rtol=0, atol=1e-11)
    assert found.excess > 0
    assert not is_nilpotent(loop, widths)
    # Powers may underflow to 0; the trace of A itself does not.
    assert not is_nilpotent(1e-200 * np.eye(4), (2, 2))
    # Nilpotent of another depth: no power has a trace, but A^2 is not 0.
    assert not is_nilpotent(_matrix((2, 1, 1)), (2, 2))


def test_ranks_give_the_jordan_type() -> None:
    # Partial ranks of generic weights: sums of the least width on each interval.
    np.testing.assert_array_equal(ranks_of_powers(_matrix((3, 2, 4, 3)), 3), [7, 4, 2])
    assert not np.any(ranks_of_powers(np.zeros((5, 5)), 2))


def test_jordan_type_is_not_conserved() -> None:
    """W_1 = 0 with a generic W_2 starts with rank 3 and has rank 6 afterwards."""
    widths = (3, 3, 3)
    start = _matrix(widths)
    start[3:6, :3] = 0.0
    np.testing.assert_array_equal(ranks_of_powers(start, 2), [3, 0])
    after = _descend(start, widths, 20, 1e-3)
    np.testing.assert_array_equal(ranks_of_powers(after, 2), [6, 3])
    assert is_nilpotent(after, widths)


def test_balanced_starts_keep_their_rank() -> None:
    """W_1 = W_2^T of rank two towards a symmetric target of rank three."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(3, 2)) @ rng.normal(size=(2, 3))
    start = adjacency([jnp.asarray(first), jnp.asarray(first.T)])
    goal = corner(jnp.diag(jnp.array([3.0, 2.0, 1.0])), (3, 3, 3))
    found = start
    for _ in range(200):
        found = found + 2e-3 * adjacency_velocity(found, goal, 2)
    np.testing.assert_array_equal(ranks_of_powers(np.array(found), 2), [4, 2])


def test_bad_input() -> None:
    square = np.zeros((4, 4))
    for call in (lambda m: nilpotency(m, 2), lambda m: ranks_of_powers(m, 2)):
        with pytest.raises(InputError, match="`matrix` must be square"):
            call(np.zeros((3, 4)))
        with pytest.raises(InputError, match="`matrix` must be finite"):
            call(square * np.nan)
    for widths in ((2, 1), (4,), (5, -1)):
        with pytest.raises(InputError, match="`widths`"):
            is_nilpotent(square, widths)
    for call in (lambda: nilpotency(square, 0), lambda: ranks_of_powers(square, 0)):
        with pytest.raises(InputError, match="`n_layers`"):
            call()
    with pytest.raises(InputError, match="`tolerance`"):
        ranks_of_powers(square, 2, -1.0)


def test_large_networks_are_nilpotent_and_powers_that_overflow_are_refused() -> None:
    widths = (60, 60, 60, 60)
    found = nilpotency(20.0 * _matrix(widths), 3)  # norm^240 is beyond float64, the powers are 0
    assert found.excess == 0
    assert not np.any(found.traces)
    assert np.isinf(found.scale[-1])
    assert is_nilpotent(20.0 * _matrix(widths), widths)
    for call in (lambda m: nilpotency(m, 2), lambda m: ranks_of_powers(m, 6)):
        with pytest.raises(InputError, match="`matrix` must have finite powers up to 6"):
            call(1e60 * np.ones((6, 6)))
        call(1e45 * np.ones((6, 6)))
