"""Sets of stationary points: global minima, half fits, the plateau. Constructors of their members.

With one output, levels of the loss in units of |a|^2 and what they are:

    0    global minima      gains add up to 0 on every line, and sum v_i w_i = 2 a
    1/4  half fits          live neurons on one ray of the line of a, gains of |a| together;
                            of equal signs a degenerate local minimum, of mixed signs a saddle
                            whose Hessian has no negative eigenvalue, so a non-strict one
    1/2  plateau            V = 0 and every w_i orthogonal to a, 0 too: a strict saddle

`gramdyn.planted.classify` tells them apart.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_finite, check_matrix, check_real, check_seed
from gramdyn.planted._points import check_direction

Weights = tuple[Float[np.ndarray, "k D"], Float[np.ndarray, "k C"]]


def global_minimum(forward: Any, backward: Any, target: Any, norms: Any = None) -> Weights:
    """Global minimum of one output with all neurons on the line of a.

    Args:
        forward: Gains e_i = v_i n_i of neurons along a, which add up to |a|, any signs but no 0.
        backward: Gains of neurons along -a, which add up to -|a|.
        target: a, one output, not zero, shape (1, D).
        norms: Norms n_i of all neurons, above 0; sqrt(|e_i|) by default, which is balanced.

    Returns:
        W, the forward neurons first, and V.

    Raises:
        InputError: for gains that do not add up, or values out of range.

    Cost: k D operations.

    Source: derived here, tested.
    """
    wanted = check_direction(target)
    ahead = _gains("forward", forward, wanted, 1.0)
    behind = _gains("backward", backward, wanted, -1.0)
    signs = np.concatenate([np.ones(len(ahead)), -np.ones(len(behind))])
    return _on_line(np.concatenate([ahead, behind]), signs, wanted, norms)


def half_fit(
    gains: Any, target: Any, *, opposite: bool = False, norms: Any = None, n_dead: int = 0
) -> Weights:
    """Half fit of one output: live neurons on one ray of the line of a, loss |a|^2 / 4.

    Args:
        gains: Gains e_i of the live neurons, no 0; |a| together, or -|a| on the opposite ray.
        target: a, one output, not zero, shape (1, D).
        opposite: Whether the ray is that of -a.
        norms: Norms n_i of the live neurons, above 0; sqrt(|e_i|) by default, which is balanced.
        n_dead: Number of neurons of zeros behind them.

    Returns:
        W and V.

    Raises:
        InputError: for gains that do not add up, or values out of range.

    Cost: k D operations.

    Source: derived here, tested.
    """
    wanted, side = check_direction(target), -1.0 if opposite else 1.0
    found = _gains("gains", gains, wanted, side)
    rows, turned = _on_line(found, np.full(len(found), side), wanted, norms)
    dead = check_seed("n_dead", n_dead)
    return np.pad(rows, ((0, dead), (0, 0))), np.pad(turned, ((0, dead), (0, 0)))


def plateau(hidden: Any, target: Any) -> Weights:
    """Point of the plateau: the rows without their part along a, and V = 0.

    Args:
        hidden: Rows, zeros allowed, shape (k, D).
        target: a, one output, not zero, shape (1, D).

    Returns:
        W and V.

    Raises:
        InputError: for shapes that do not fit or NaN.

    Cost: k D operations.

    Source: derived here, tested.
    """
    wanted, rows = check_direction(target), check_matrix("hidden", hidden)
    fits = rows.shape[1] == wanted.shape[1]
    check(fits, "hidden", f"have {wanted.shape[1]} columns", rows.shape)
    unit = wanted[0] / np.linalg.norm(wanted)
    for _ in range(2):  # once more, for the rounding of the first time
        rows = rows - (rows @ unit)[:, None] * unit
    return rows, np.zeros((len(rows), 1))


def paired_minimum(
    hidden: Any, readout: Any, ratios: Any = None
) -> tuple[Float[np.ndarray, "K D"], Float[np.ndarray, "K C"], Float[np.ndarray, "C D"]]:
    """Global minimum of pairs w_i' = -r_i w_i, V_i' = -V_i / r_i, any number of outputs.

    relu(z) - relu(-z) = z, so the network is linear with the map sum_i V_i w_i^T. For k = 2 C and a
    target of rank C every global minimum is of this kind.

    Args:
        hidden: Rows w_i of one neuron of each pair, shape (m, D).
        readout: Rows V_i of it, shape (m, C).
        ratios: r_i above 0, shape (m,); 1 by default.

    Returns:
        W and V with 2 m rows, the partners behind, and the map they represent.

    Raises:
        InputError: for shapes that do not fit or values out of range.

    Cost: m D C operations.

    Source: derived here, tested.
    """
    rows, turned = check_matrix("hidden", hidden), check_matrix("readout", readout)
    check(len(rows) == len(turned), "readout", f"have {len(rows)} rows", turned.shape)
    scale = np.ones(len(rows)) if ratios is None else check_real("ratios", ratios)
    good = scale.shape == (len(rows),) and bool(np.all((scale > 0) & np.isfinite(scale)))
    check(good, "ratios", "be finite, above 0, and one for each row", scale)
    partners = -scale[:, None] * rows, -turned / scale[:, None]
    return np.vstack([rows, partners[0]]), np.vstack([turned, partners[1]]), turned.T @ rows


def _gains(name: str, gains: Any, target: Any, side: float) -> Float[np.ndarray, " m"]:
    """Gains as float64 that add up to |a| times the side."""
    found, total = check_real(name, gains), side * float(np.linalg.norm(target))
    check(found.ndim == 1 and bool(np.all(found != 0)), name, "be a list without 0", found)
    check_finite(name, found[:, None])
    good = abs(float(np.sum(found)) - total) <= 1e-12 * float(np.sum(np.abs(found)))
    check(good, name, f"add up to {total:g}", float(np.sum(found)))
    return found


def _on_line(
    gains: Float[np.ndarray, " k"], signs: Any, target: Float[np.ndarray, "1 D"], norms: Any
) -> Weights:
    """Neurons with these gains along a, or along -a where the sign is -1."""
    size = np.sqrt(np.abs(gains)) if norms is None else check_real("norms", norms)
    good = size.shape == gains.shape and bool(np.all((size > 0) & np.isfinite(size)))
    check(good, "norms", f"be {len(gains)} finite numbers above 0", size)
    unit = target[0] / np.linalg.norm(target)
    return (signs * size)[:, None] * unit, (gains / size)[:, None]
