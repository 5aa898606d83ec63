"""What every question about one network or many starts from: checks, geometry, loss, gradient.

Many networks have leading axes in common, such as that of seeds.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from gramdyn._checks import check, check_matrix, check_real

Point = tuple[
    Float[np.ndarray, "*batch k D"], Float[np.ndarray, "*batch k C"], Float[np.ndarray, "C D"]
]


def check_point(hidden: Any, readout: Any, target: Any) -> Point:
    """Weights and target as float64 arrays, refused unless their shapes fit.

    Raises:
        InputError: for entries that are not finite or shapes that do not fit.
    """
    found, turned = check_real("hidden", hidden), check_real("readout", readout)
    wanted = check_matrix("target", target)
    fits = found.ndim >= 2 and found.size > 0 and found.shape[-1] == wanted.shape[1]
    check(fits, "hidden", f"have shape (..., k, {wanted.shape[1]})", found.shape)
    shape = (*found.shape[:-1], wanted.shape[0])
    check(turned.shape == shape, "readout", f"have shape {shape}", turned.shape)
    for name, array in (("hidden", found), ("readout", turned)):
        check(bool(np.isfinite(array).all()), name, "be finite everywhere", "not")
    return found, turned, wanted


def check_single(hidden: Any, readout: Any, target: Any) -> Point:
    """As `check_point`, refused unless there is one output and a target that is not zero."""
    point = check_point(hidden, readout, target)
    check_direction(point[2])
    return point


def check_direction(target: Any) -> Float[np.ndarray, "1 D"]:
    """Target of one output as a float64 array, refused where it is zero."""
    found = check_matrix("target", target)
    check(len(found) == 1, "target", "have one row, for one output", found.shape)
    check(bool(np.any(found != 0)), "target", "be no zero row", 0.0)
    return found


def norms_of(hidden: Float[np.ndarray, "*batch k D"]) -> Float[np.ndarray, "*batch k"]:
    """Norms of the rows."""
    return np.asarray(np.linalg.norm(hidden, axis=-1))


def gains_of(
    hidden: Float[np.ndarray, "*batch k D"], readout: Float[np.ndarray, "*batch k 1"]
) -> Float[np.ndarray, "*batch k"]:
    """Signed gains e_i = v_i n_i of one output."""
    return readout[..., 0] * norms_of(hidden)


@dataclass(frozen=True)
class Geometry:
    """Norms and directions of rows, which are not zero, and their angles with cosine and sine."""

    norms: Float[np.ndarray, "*batch k"]
    units: Float[np.ndarray, "*batch k D"]
    alive: Bool[np.ndarray, "*batch k"]
    cosine: Float[np.ndarray, "*batch k k"]
    sine: Float[np.ndarray, "*batch k k"]
    angle: Float[np.ndarray, "*batch k k"]

    @property
    def shared(self) -> Float[np.ndarray, "*batch k k"]:
        """Share of inputs on which both neurons are active; none for a row of zeros."""
        both = self.alive[..., :, None] & self.alive[..., None, :]
        return np.where(both, (np.pi - self.angle) / (2 * np.pi), 0.0)

    @property
    def relu_gram(self) -> Float[np.ndarray, "*batch k k"]:
        """J_ij = E relu(w_i . x) relu(w_j . x)."""
        shape = self.sine + (np.pi - self.angle) * self.cosine
        return self.norms[..., :, None] * self.norms[..., None, :] * shape / (2 * np.pi)

    @property
    def even_gram(self) -> Float[np.ndarray, "*batch k k"]:
        """E_ij = 1/4 E |w_i . x| |w_j . x|."""
        shape = self.sine + (np.pi / 2 - self.angle) * self.cosine
        return self.norms[..., :, None] * self.norms[..., None, :] * shape / (2 * np.pi)


def geometry_of(hidden: Float[np.ndarray, "*batch k D"]) -> Geometry:
    """Geometry of rows, normalised first, with a cosine of exactly 1 on the diagonal."""
    norms = norms_of(hidden)
    units = hidden / np.where(norms > 0, norms, 1.0)[..., None]
    cosine = np.clip(units @ np.swapaxes(units, -1, -2), -1.0, 1.0)
    cosine = np.where(np.eye(hidden.shape[-2], dtype=bool), 1.0, cosine)
    sine = np.sqrt((1.0 - cosine) * (1.0 + cosine))
    return Geometry(norms, units, norms > 0, cosine, sine, np.arctan2(sine, cosine))


def close_geometry(hidden: Float[np.ndarray, "k D"]) -> Geometry:
    """Geometry with angles exact to rounding near 0 and pi too, by sums and differences.

    Derivatives of second order contain the angle itself, where an error of 1e-8 does not cancel.
    """
    at = geometry_of(hidden)
    gap = np.linalg.norm(at.units[:, None, :] - at.units[None, :, :], axis=-1)
    total = np.linalg.norm(at.units[:, None, :] + at.units[None, :, :], axis=-1)
    gap[np.diag_indices(len(gap))] = 0.0
    return replace(at, sine=gap * total / 2, angle=2 * np.arctan2(gap, total))


def loss_of(
    hidden: Float[np.ndarray, "*batch k D"],
    readout: Float[np.ndarray, "*batch k C"],
    target: Float[np.ndarray, "C D"],
) -> Float[np.ndarray, "*batch"]:
    """1/2 E |f - B x|^2."""
    odd = np.swapaxes(readout, -1, -2) @ hidden / 2 - target
    inner = readout @ np.swapaxes(readout, -1, -2)
    even = np.sum(inner * geometry_of(hidden).even_gram, axis=(-1, -2))
    return np.asarray((np.sum(odd**2, axis=(-1, -2)) + even) / 2)


def gradient_of(
    hidden: Float[np.ndarray, "*batch k D"],
    readout: Float[np.ndarray, "*batch k C"],
    target: Float[np.ndarray, "C D"],
) -> tuple[Float[np.ndarray, "*batch k D"], Float[np.ndarray, "*batch k C"]]:
    """Derivatives by W and by V; those of a row of zeros are 0."""
    at = geometry_of(hidden)
    inner = readout @ np.swapaxes(readout, -1, -2)
    heights = np.sum(inner * at.sine * at.norms[..., None, :], axis=-1)
    turn = heights / np.where(at.alive, 2 * np.pi * at.norms, np.inf)
    by_hidden = (inner * at.shared) @ hidden + turn[..., None] * hidden
    by_hidden -= np.where(at.alive[..., None], readout @ target, 0.0) / 2
    live = np.where(at.alive[..., None], hidden, 0.0)
    return by_hidden, at.relu_gram @ readout - live @ target.T / 2
