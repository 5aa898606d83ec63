"""Hessian of the population loss in closed form, and its spectra on the stationary sets."""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check
from gramdyn.planted._points import (
    Geometry,
    check_point,
    check_single,
    close_geometry,
    geometry_of,
    norms_of,
)


def hessian_matrix(hidden: Any, readout: Any, target: Any) -> Float[np.ndarray, "N N"]:
    """Hessian of the loss 1/2 E |f - B x|^2 by W and V.

    With m_ij = (u_j - cos t u_i) / sin t, zero where sin t = 0, and for i != j:

        [w_i, w_i]  |V_i|^2 I/2 + sum_j (V_i.V_j) n_j sin t / (2 pi n_i) (I - u_i u_i^T + m m^T)
        [w_i, w_j]  (V_i.V_j) / (2 pi) ((pi - t) I + sin t (u_i u_j^T + m_ij m_ji^T))
        [w_i, V_jc] V_ic q_ij + delta_ij (sum_l V_lc q_il - b_c / 2)
        [V_ic, V_jc] J_ij, and 0 between different outputs

    Rows and columns of a neuron with w_i = 0 are 0: the loss has no second derivative there unless
    everything else vanishes, and descent leaves such a neuron alone.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: Rows V_i, shape (k, C).
        target: B, shape (C, D).

    Returns:
        Symmetric matrix; rows and columns are W row by row, then V row by row.

    Raises:
        InputError: for more than one network, shapes that do not fit, or NaN.

    Cost: (k (D + C))^2 numbers.

    Source: derived here, tested.
    """
    rows, turned, wanted = check_point(hidden, readout, target)
    check(rows.ndim == 2, "hidden", "be of one network, shape (k, D)", rows.shape)
    at, size = close_geometry(rows), rows.size
    alive = np.concatenate([np.repeat(at.alive, n) for n in (rows.shape[1], turned.shape[1])])
    found = np.zeros((size + turned.size, size + turned.size))
    found[:size, :size] = _by_hidden(at, turned @ turned.T).reshape(size, size)
    found[:size, size:] = _mixed(at, rows, turned, wanted).reshape(size, turned.size)
    found[size:, :size] = found[:size, size:].T
    found[size:, size:] = np.kron(at.relu_gram, np.eye(turned.shape[1]))
    return np.where(alive[:, None] & alive[None, :], (found + found.T) / 2, 0.0)


def _tilts(at: Geometry) -> Float[np.ndarray, "k k D"]:
    """m_ij, the unit vector from u_i towards u_j."""
    across = at.units[None, :, :] - at.cosine[:, :, None] * at.units[:, None, :]
    return across / np.where(at.sine > 0, at.sine, np.inf)[:, :, None]


def _by_hidden(at: Geometry, inner: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k D k D"]:
    """Second derivatives by W."""
    tilts, units, eye = _tilts(at), at.units, np.eye(at.units.shape[1])
    turned = np.einsum("ij,ia,jb->iajb", at.sine, units, units)
    turned += np.einsum("ij,ija,jib->iajb", at.sine, tilts, tilts)
    found = np.einsum("ij,iajb->iajb", inner / (2 * np.pi), turned)
    found += np.einsum("ij,ab->iajb", inner * at.shared, eye)
    per_norm = 1 / np.where(at.alive, 2 * np.pi * at.norms, np.inf)
    weight = inner * at.sine * at.norms[None, :] * per_norm[:, None]
    across = eye - np.einsum("ia,ib->iab", units, units)
    own = np.einsum("ij,ija,ijb->iab", weight, tilts, tilts)
    own += np.sum(weight, axis=1)[:, None, None] * across
    for i, block in enumerate(own):
        found[i, :, i, :] += block
    return found


def _mixed(
    at: Geometry,
    hidden: Float[np.ndarray, "k D"],
    readout: Float[np.ndarray, "k C"],
    target: Float[np.ndarray, "C D"],
) -> Float[np.ndarray, "k D k C"]:
    """Second derivatives by W and V."""
    pulls = at.shared[:, :, None] * hidden[None, :, :]  # q_ij
    pulls += (at.sine * at.norms[None, :])[:, :, None] * at.units[:, None, :] / (2 * np.pi)
    found = np.einsum("ic,ija->iajc", readout, pulls)
    residual = np.einsum("lc,ila->iac", readout, pulls) - target.T[None] / 2
    for i, block in enumerate(residual):
        found[i, :, i, :] += block
    return found


def ray_spectrum(hidden: Any, readout: Any, target: Any) -> Float[np.ndarray, " N"]:
    """Eigenvalues of the Hessian where all neurons lie on the line of a and f fits on their rays.

    For each of the one or two rays with neurons on it, 1/2 sum v_i^2 D - 1 times and
    1/2 sum (v_i^2 + n_i^2) once; all others are 0. This is every aligned global minimum, and both
    sets of half fits without dead neurons.

    Args:
        hidden: Rows w_i along a or -a, shape (k, D).
        readout: v_i with sum e_i = |a| on the ray of a and -|a| on the other, shape (k, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        Eigenvalues, ascending, shape (k (D + 1),).

    Raises:
        InputError: for neurons off the line, zero rows, or gains that fit on neither ray.

    Cost: k D operations.

    Source: derived here, tested.
    """
    rows, turned, wanted = check_single(hidden, readout, target)
    size, norms = float(np.linalg.norm(wanted)), norms_of(rows)
    along = rows @ wanted[0] / size
    straight = bool(np.all((norms > 0) & (norms - np.abs(along) <= 1e-12 * norms)))
    check(straight, "hidden", "have rows that are not 0 and lie on the line of the target", "not")
    found = []
    for side in (1.0, -1.0):
        group = side * along > 0
        outer, inner = np.sum(turned[group] ** 2), np.sum(norms[group] ** 2)
        gain = float(np.sum(turned[group, 0] * norms[group]))
        fits = not group.any() or abs(gain - side * size) <= 1e-9 * size
        check(
            bool(fits), "readout", f"have gains of {side * size:g} together on ray {side:g}", gain
        )
        if group.any():
            found += [outer / 2] * (rows.shape[1] - 1) + [(outer + inner) / 2]
    return np.sort(np.array(found + [0.0] * (rows.size + len(rows) - len(found))))


def plateau_spectrum(hidden: Any, target: Any) -> Float[np.ndarray, " N"]:
    """Eigenvalues of the Hessian at the plateau, V = 0 and all w_i orthogonal to a.

    (mu +- sqrt(mu^2 + |a|^2)) / 2 for every eigenvalue mu of J, and 0: a strict saddle, also at 0,
    where they are +-|a| / 2, k of each.

    Args:
        hidden: Rows w_i orthogonal to a, zeros allowed, shape (k, D).
        target: a, one output, not zero, shape (1, D).

    Returns:
        Eigenvalues, ascending, shape (k (D + 1),).

    Raises:
        InputError: for rows that are not orthogonal to a.

    Cost: one eigenvalue problem of size k.

    Source: derived here, tested.
    """
    rows, _, wanted = check_single(hidden, np.zeros((len(hidden), 1)), target)
    size, norms = float(np.linalg.norm(wanted)), norms_of(rows)
    off = np.abs(rows @ wanted[0]) <= 1e-12 * size * norms
    check(bool(off.all()), "hidden", "have rows orthogonal to the target", "not")
    values = np.linalg.eigvalsh(geometry_of(rows).relu_gram)
    root = np.sqrt(values**2 + size**2)
    rest = np.zeros(rows.size - len(rows))
    return np.sort(np.concatenate([(values + root) / 2, (values - root) / 2, rest]))
