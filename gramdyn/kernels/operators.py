"""Operators that carry fields across layers: pushforward, pullback, the weight-induced Gram.

Between two layers runs a path of masks and matrices. On one sample it is the linear map

    J_mu = M_p D_mu^p ... M_1 D_mu^1,          D_mu = diag(mask[mu])

and a pair of samples has the operator `J_mu J_nu^T`. Two families are of this form:

* pushforward Gamma^{l,k}: masks m^k .. m^{l-1}, matrices W^{k+1} .. W^l (forward),
* pullback P^{l,k}: masks m^{k-1} .. m^{l+1}, matrices W^{k-1,T} .. W^{l+1,T} (backward); the first
  that is not the identity, P^{l,l+2}, is the weight-induced Gram operator W^T D_mu D_nu W.

No function here forms an operator for all pairs, except where its docstring says so.
Source: arXiv 2606.09744.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn._types import Key
from gramdyn.kernels.spectra import spectrum, top_eigenvalues_of

# Probes pushed at a time: few, so that what is held stays near the size of the fields.
_BLOCK = 8


class Path(NamedTuple):
    """Masks and matrices met on the way, the first applied first.

    Attributes:
        masks: One an intermediate layer, shape (n, N_i); at least one.
        matrices: As many, shape (N_{i+1}, N_i).
    """

    masks: tuple[Float[Array, "n _"], ...]
    matrices: tuple[Float[Array, "_ _"], ...]

    @property
    def n_in(self) -> int:
        """Neurons where the path starts."""
        return self.matrices[0].shape[1]

    @property
    def n_out(self) -> int:
        """Neurons where it ends."""
        return self.matrices[-1].shape[0]

    def at(self, sample: int | Array) -> "Path":
        """The path of one sample, masks of shape (1, N_i)."""
        return Path(
            tuple(mask[sample][None] for mask in self.masks),
            self.matrices,
        )


def reversed_path(path: Path) -> Path:
    """The path walked backwards: pullback from the forward masks and weights, and the reverse.

    Masks of the layers l+1 .. k-1 with weights W^{l+1} .. W^{k-1} give the pullback P^{l,k}.
    """
    return Path(path.masks[::-1], tuple(matrix.T for matrix in path.matrices[::-1]))


def along(path: Path, field: Float[Array, "n rows N"]) -> Float[Array, "n rows M"]:
    """J_mu field[mu], row by row: a change at the start of the path, seen at its end.

    Cost: 2 n rows N^2 operations a step of the path.
    """
    for mask, matrix in zip(path.masks, path.matrices, strict=True):
        field = _flat(mask[:, None, :] * field, matrix.T)
    return field


def against(path: Path, field: Float[Array, "n rows M"]) -> Float[Array, "n rows N"]:
    """J_mu^T field[mu], row by row: the transpose of `along`."""
    for mask, matrix in zip(path.masks[::-1], path.matrices[::-1], strict=True):
        field = mask[:, None, :] * _flat(field, matrix)
    return field


def _flat(field: Float[Array, "n rows N"], matrix: Float[Array, "N M"]) -> Float[Array, "n rows M"]:
    """Field @ matrix as one product: the batched one runs slower on CPU when rows = 1."""
    n, rows, width = field.shape
    return (field.reshape(n * rows, width) @ matrix).reshape(n, rows, matrix.shape[1])


def apply_operator(
    path: Path, mix: Float[Array, "n n"], field: Float[Array, "n M"]
) -> Float[Array, "n M"]:
    """Sum over samples of mix[mu, nu] J_mu J_nu^T field[nu], no operator formed.

    It is one term of a field law: with mix = G^{k-1} and field = sum_c r_c delta^l_c the part of
    dz^l/dt that layer k's learning causes, up to the factor -s.

    Args:
        path: Between the two layers; its end is where `field` lives.
        mix: Weights of the pairs of samples, shape (n, n).
        field: One vector a sample, shape (n, M).

    Returns:
        Shape (n, M).

    Cost: 4 n N^2 operations a step of the path and 2 n^2 N once; n N numbers kept.
    """
    back = against(path, field[:, None, :])[:, 0, :]
    return along(path, (mix @ back)[:, None, :])[:, 0, :]


def operator_matrix(path: Path, sample: int | Array, other: int | Array) -> Float[Array, "M M"]:
    """The operator J_mu J_nu^T of one pair of samples, formed. Cost: 4 N^3 a step of the path."""
    return _jacobian(path, sample) @ _jacobian(path, other).T


def _jacobian(path: Path, sample: int | Array) -> Float[Array, "M N"]:
    """J_mu of one sample, shape (M, N)."""
    basis = jnp.eye(path.n_in, dtype=path.matrices[0].dtype)
    return along(path.at(sample), basis[None])[0].T


def operator_traces(path: Path) -> Float[Array, "n n"]:
    """Traces of the operators of all pairs, tr J_mu J_nu^T = <J_mu, J_nu>_F, exactly.

    The basis of the path's start is pushed through in blocks.

    Returns:
        Symmetric positive semidefinite matrix, shape (n, n).

    Cost: 2 n N^3 operations a step of the path and 2 n^2 N^2; 8 n N numbers kept.
        `estimate_traces` replaces N vectors by a few.
    """
    n_in, dtype = path.n_in, path.matrices[0].dtype
    n_blocks = -(-n_in // _BLOCK)
    columns = jnp.arange(n_in)

    def add(total: Float[Array, "n n"], block: Array) -> tuple[Float[Array, "n n"], None]:
        # Rows past the basis match no column, so they are zero.
        rows = (block * _BLOCK + jnp.arange(_BLOCK))[:, None]
        ends = _pushed(path, (rows == columns[None, :]).astype(dtype))
        return total + jnp.tensordot(ends, ends, ((1, 2), (1, 2))), None

    n = path.masks[0].shape[0]
    return lax.scan(add, jnp.zeros((n, n), dtype), jnp.arange(n_blocks))[0]


def _pushed(path: Path, vectors: Float[Array, "rows N"]) -> Float[Array, "n rows M"]:
    """J_mu v for every sample and every vector."""
    n = path.masks[0].shape[0]
    return along(path, jnp.broadcast_to(vectors[None], (n, *vectors.shape)))


def estimate_traces(
    path: Path, key: Key, n_probes: int = 32
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """Hutchinson's estimate of `operator_traces`, with its standard error.

    Mean over random signs v of (J_mu v) . (J_nu v), unbiased.

    Args:
        path: Between two layers.
        key: Random key of the probes.
        n_probes: Number of probes, at least 2.

    Returns:
        (estimate, standard error of it), each of shape (n, n).

    Cost: 2 n n_probes N^2 operations a step of the path and 2 n^2 n_probes N; n N + n^2 kept.
    """
    check(n_probes >= 2, "n_probes", "be at least 2", n_probes)
    dtype, n = path.matrices[0].dtype, path.masks[0].shape[0]

    def add(sums: tuple[Array, Array, Array], key: Key) -> tuple[tuple[Array, Array, Array], None]:
        # Welford's update: the variance of nearly equal numbers keeps its digits.
        count, mean, squares = sums
        end = _pushed(path, jax.random.rademacher(key, (1, path.n_in), dtype))[:, 0, :]
        found = end @ end.T
        step = found - mean
        mean = mean + step / (count + 1)
        return (count + 1, mean, squares + step * (found - mean)), None

    zero = jnp.zeros((n, n), dtype)
    start = (jnp.zeros((), dtype), zero, zero)
    count, mean, squares = lax.scan(add, start, jax.random.split(key, n_probes))[0]
    return mean, jnp.sqrt(squares / (count * (count - 1)))


def operator_spectra(path: Path) -> Float[Array, "n M"]:
    """All eigenvalues of J_mu J_mu^T for each sample, descending: squared singular values of J_mu.

    Returns:
        Shape (n, M), never below 0 but for rounding.

    Cost: 2 N^3 operations a step of the path and a decomposition, for each sample in turn; N^2
        numbers kept. `top_operator_eigenvalues` finds a few with products alone.
    """
    samples = jnp.arange(path.masks[0].shape[0])
    return lax.map(lambda mu: spectrum(operator_matrix(path, mu, mu)), samples)


def top_operator_eigenvalues(path: Path, n_top: int = 1) -> Float[Array, "n {n_top}"]:
    """Largest eigenvalues of J_mu J_mu^T for each sample, the operator never formed.

    Args:
        path: Between two layers.
        n_top: How many, at most the width at the path's end.

    Returns:
        Descending, shape (n, n_top).

    Cost: 4 N^2 operations a product and step of the path, 8 to about 50 products a sample.
    """

    def of_sample(mu: Array) -> Float[Array, " top"]:
        one = path.at(mu)

        def product(vector: Float[Array, " M"]) -> Float[Array, " M"]:
            return along(one, against(one, vector[None, None]))[0, 0]

        return top_eigenvalues_of(product, path.n_out, path.matrices[0].dtype, n_top)

    return lax.map(of_sample, jnp.arange(path.masks[0].shape[0]))


def operator_velocity(
    path: Path, velocities: tuple[Float[Array, "_ _"], ...], sample: int, other: int
) -> Float[Array, "M M"]:
    """d/dt of J_mu J_nu^T between mask flips, for given velocities of the path's matrices.

    The product rule along the path; `gram_operator_velocity` is its first case with the matrix's
    velocity written in fields.

    Returns:
        Shape (M, M), formed.

    Cost: 6 N^3 operations a step of the path.
    """
    here, moves = _jacobian_velocity(path.at(sample), velocities)
    there, drifts = _jacobian_velocity(path.at(other), velocities)
    return moves @ there.T + here @ drifts.T


def _jacobian_velocity(path: Path, velocities: tuple[Array, ...]) -> tuple[Array, Array]:
    """J and dJ/dt of the path of one sample."""
    jac = jnp.eye(path.n_in, dtype=path.matrices[0].dtype)
    rate = jnp.zeros_like(jac)
    for mask, matrix, velocity in zip(path.masks, path.matrices, velocities, strict=True):
        rate = matrix @ (mask.T * rate) + velocity @ (mask.T * jac)
        jac = matrix @ (mask.T * jac)
    return jac, rate


def triple_field(
    mask: Float[Array, " N"],
    other_mask: Float[Array, " N"],
    weight: Float[Array, "N N_in"],
    sens: Float[Array, "n C N"],
) -> Float[Array, "n C N_in"]:
    """B[rho, c] = W^T D_mu D_nu delta[rho, c]: what moves a weight-induced Gram operator.

    Args:
        mask: Mask of the layer on sample mu, shape (N,).
        other_mask: Its mask on sample nu, shape (N,).
        weight: Its weights, multiplier included, shape (N, N_in).
        sens: Its sensitivities, shape (n, C, N).

    Returns:
        Shape (n, C, N_in), for the one pair (mu, nu).
    """
    return _flat((mask * other_mask)[None, None, :] * sens, weight)


def gram_operator_velocity(
    mask: Float[Array, " N"],
    other_mask: Float[Array, " N"],
    weight: Float[Array, "N N_in"],
    sens: Float[Array, "n C N"],
    residual: Float[Array, "n C"],
    act: Float[Array, "n N_in"],
) -> Float[Array, "N_in N_in"]:
    """Evolution law of the weight-induced Gram operator W^T D_mu D_nu W, between mask flips.

    d/dt = - s sum_{rho, c} residual[rho, c] (act[rho] B[rho, c]^T + B[rho, c] act[rho]^T)

    with the triple field B of the pair (mu, nu). The law needs a field with one more index, whose
    own law needs another: the hierarchy does not close, and cutting it is an approximation
    (`gramdyn.systems.Closure`).

    Args:
        mask: As in `triple_field`.
        other_mask: As in `triple_field`.
        weight: As in `triple_field`.
        sens: As in `triple_field`.
        residual: Residual, shape (n, C).
        act: Activations entering the layer, shape (n, N_in).

    Returns:
        The sum without the factor s (and without the square of the layer's multiplier), symmetric,
        shape (N_in, N_in).

    Source: arXiv 2606.09744.
    """
    triple = triple_field(mask, other_mask, weight, sens)
    moved = jnp.einsum("rc,ri,rcj->ij", residual, act, triple)
    return -(moved + moved.T)
