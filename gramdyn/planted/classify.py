"""Which stationary set a point of the loss of one output belongs to."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Shaped

from gramdyn._checks import check
from gramdyn.planted._points import check_single, gains_of, gradient_of, loss_of, norms_of
from gramdyn.planted.hessian import hessian_matrix

Kind = Literal[
    "not_stationary",
    "global_min",
    "half_fit_escapable",
    "nonstrict_saddle",
    "spurious_min",
    "plateau",
    "other",
]
# In the order in which the rules are asked; where codes are recorded they are places in it.
KINDS: tuple[str, ...] = get_args(Kind)

# Largest |grad| / (1 + |parameters|) of a stationary point, largest loss of a global minimum.
_STILL, _LEARNT = 1e-6, 1e-6
# How near a level is, and below what a neuron is dead, or its gain no longer live.
_NEAR, _SMALL = 1e-3, 1e-3


@dataclass(frozen=True)
class Classification:
    """What kind of point this is, and the numbers behind it.

    Attributes:
        kind: One of `KINDS`.
        loss: Loss, in units of |a|^2.
        gradient_norm: |grad| / (1 + |parameters|) of the same problem with |a| = 1.
        smallest_eigenvalue: Smallest eigenvalue of the Hessian, in units of |a|.
    """

    kind: Kind
    loss: float
    gradient_norm: float
    smallest_eigenvalue: float


def classify(hidden: Any, readout: Any, target: Any) -> Classification:
    """Kind of one point of the loss of one output, with the numbers that decide.

    Args:
        hidden: Rows w_i, shape (k, D).
        readout: v_i, shape (k, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        The kind as of `kinds`, loss, gradient and smallest eigenvalue of the Hessian.

    Raises:
        InputError: for several networks or outputs, a zero target, or NaN.

    Cost: O((k D)^3), for the eigenvalues.

    Source: derived here, tested.
    """
    rows, turned, wanted = _unit_problem(hidden, readout, target)
    check(rows.ndim == 2, "hidden", "be of one network, shape (k, D)", rows.shape)
    return Classification(
        kind=kinds(rows, turned, wanted).item(),
        loss=float(loss_of(rows, turned, wanted)),
        gradient_norm=float(_gradient_norm(rows, turned, wanted)),
        smallest_eigenvalue=float(np.linalg.eigvalsh(hessian_matrix(rows, turned, wanted))[0]),
    )


def kinds(hidden: Any, readout: Any, target: Any) -> Shaped[np.ndarray, "*batch"]:
    """Kinds of many points of the loss of one output.

    In units with |a| = 1, in this order: |grad| / (1 + |parameters|) above 1e-6 is
    "not_stationary"; a loss below 1e-6 is "global_min"; one within 1e-3 of 1/4 is a half fit, which
    is "half_fit_escapable" with a neuron of |v|, |w| below 1e-3, and else "spurious_min" or
    "nonstrict_saddle", as the signs of the live neurons, |e| above 1e-3, are equal or mixed; a loss
    within 1e-3 of 1/2 is "plateau"; all else is "other". A slow passage past a saddle may read as
    stationary.

    Args:
        hidden: Rows w_i, shape (..., k, D).
        readout: v_i, shape (..., k, 1).
        target: a, one output, not zero, shape (1, D).

    Returns:
        Strings, one a network.

    Raises:
        InputError: for several outputs, a zero target, or NaN.

    Cost: k^2 D operations a network.

    Source: derived here, tested.
    """
    rows, turned, wanted = _unit_problem(hidden, readout, target)
    found = kind_rules(
        _gradient_norm(rows, turned, wanted),
        loss_of(rows, turned, wanted),
        gains_of(rows, turned),
        np.maximum(np.abs(turned[..., 0]), norms_of(rows)),
    )
    return np.asarray(np.select(list(found.values()), list(found), KINDS[-1]))


def kind_rules(slope: Any, loss: Any, gains: Any, sizes: Any) -> dict[str, Any]:
    """Whether each rule of `kinds` holds, in order; the first that does decides.

    Written in what arrays of NumPy and of JAX both answer, so that a record of a run and the host
    read the same rules. A NaN keeps none of them.

    Args:
        slope: |grad| / (1 + |parameters|) with |a| = 1, shape (...,).
        loss: Loss, in units of |a|^2, shape (...,).
        gains: e_i, in units of |a|, shape (..., k).
        sizes: max(|v_i|, |w_i|) with |a| = 1, shape (..., k).

    Returns:
        All of `KINDS` but the last one, "other".
    """
    half = abs(loss - 0.25) < _NEAR
    mixed = (gains > _SMALL).any(axis=-1) & (gains < -_SMALL).any(axis=-1)
    return {
        "not_stationary": slope > _STILL,
        "global_min": loss < _LEARNT,
        "half_fit_escapable": half & (sizes < _SMALL).any(axis=-1),
        "nonstrict_saddle": half & mixed,
        "spurious_min": half,
        "plateau": abs(loss - 0.5) < _NEAR,
    }


def _unit_problem(hidden: Any, readout: Any, target: Any) -> Any:
    """The same point with |a| = 1: (W, V, B) to (W, V) / sqrt(|a|), B / |a|."""
    rows, turned, wanted = check_single(hidden, readout, target)
    size = float(np.linalg.norm(wanted))
    return rows / np.sqrt(size), turned / np.sqrt(size), wanted / size


def _gradient_norm(rows: Any, turned: Any, wanted: Any) -> Float[np.ndarray, "*batch"]:
    """|grad| / (1 + |parameters|)."""
    slopes = [np.sum(part**2, axis=(-1, -2)) for part in gradient_of(rows, turned, wanted)]
    sizes = [np.sum(part**2, axis=(-1, -2)) for part in (rows, turned)]
    return np.asarray(np.sqrt(sum(slopes)) / (1 + np.sqrt(sum(sizes))))
