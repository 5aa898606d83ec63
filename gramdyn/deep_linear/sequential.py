"""Learning one mode after another: the levels the loss waits at, and the rate at the end.

From a small random start the loss of a deep linear network falls in steps, each mode of the
target waiting at a saddle until it is learned.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_nonnegative, check_positive_int, check_real
from gramdyn.deep_linear._checks import MOST, Number
from gramdyn.deep_linear.canonical import EQUAL, target_modes


def plateau_levels(
    target: Float[np.ndarray, "dL d0"], floor: float = 0.0, tolerance: float = EQUAL
) -> Float[np.ndarray, "levels"]:
    """Levels of the loss once the j strongest modes are learned, j = 0, ..., k.

    level_j = floor + 1/2 sum_{i > j} sigma_i^2,   k = rank T

    They are the values of the saddles that a start near 0 passes if modes are learned in order
    of strength. For L = 2 and very small starts they were (20 of 20 starts). For L >= 3 that
    order is not asserted: random overlaps of a start compete with sigma, and two modes may rise
    together and skip a level (order kept in 8 of 10 starts at widths 3-3-3-3 and scale 0.03, 9 of
    10 at 3-6-6-6-3, sigma = 3, 2, 1). Tied singular values give levels that are seen only if the
    start separates the modes. A network whose narrowest layer has r < k neurons ends at level_r.

    Args:
        target: Whitened target T, shape (dL, d0).
        floor: Least loss of any linear map, at least 0.
        tolerance: Singular values up to this times sigma_1 count as zero, as in `critical_points`.

    Returns:
        Levels from none learned to all learned, not increasing, shape (k + 1,); the floor alone for
        a zero target.

    Raises:
        InputError: for a target that is not a finite matrix, or negative numbers.

    Cost: one singular value decomposition.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120; Jacot et al., arXiv 2106.15933 (saddle to
    saddle); counts measured here.
    """
    check_nonnegative("floor", floor)
    modes = target_modes(target, check_nonnegative("tolerance", tolerance))
    left = np.append(np.cumsum(modes.values[: modes.rank][::-1] ** 2)[::-1], 0.0)
    return floor + left / 2


def local_rate(n_layers: int, singular_values: Sequence[Number] | Float[np.ndarray, "_"]) -> float:
    """Smallest rate at which a balanced network with a square target ends.

    lam_min = L sigma_k^{2 - 2/L},   residuals fall as e^{-lam_min t}, the loss as e^{-2 lam_min t}

    It is the least positive eigenvalue of the Hessian at the balanced minimum of a target of full
    rank. With a singular value of 0 and L >= 2 it is 0: that mode falls algebraically. What is up
    to 1e-10 times the largest singular value counts as 0, as in `critical_points`. A target with
    d_0 != d_L adds the L times smaller rate sigma_k^{2 - 2/L}.

    Args:
        n_layers: Number of weight layers L, at least 1.
        singular_values: All singular values of the whitened target, in any order, from 0 to 1e150.

    Returns:
        Rate of at least 0.

    Raises:
        InputError: for no singular value, or one that is negative or above 1e150.

    Cost: a few operations.

    Source: closed spectrum derived here, tested.
    """
    check_positive_int("n_layers", n_layers)
    values: Any = check_real("singular_values", singular_values)
    good = values.ndim == 1 and values.size > 0
    good = good and bool(np.all((values >= 0) & (values <= 10.0**MOST)))
    check(good, "singular_values", "hold numbers from 0 to 1e150 along one axis", values)
    least = float(np.min(values))
    least = least if least > EQUAL * np.max(values) else 0.0
    return float(n_layers * least ** (2 - 2 / n_layers))
