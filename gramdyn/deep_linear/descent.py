"""How runs of gradient descent on a deep linear network end."""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from gramdyn._checks import check, check_positive, check_real

OUTCOMES = ("converged", "bounded", "diverged")
# A gap below this is the minimum, to rounding.
TOLERANCE = 1e-12


def outcomes(
    gaps: Any, statuses: Any, tolerance: float = TOLERANCE
) -> Shaped[np.ndarray, "*batch"]:
    """Which of three ways each run ended: converged, bounded or diverged.

    Above the critical step eta_c = 2 / (L sigma_1^{2-2/L}) no global minimum is stable, so that
    runs do not converge; that does not mean that they diverge. With two layers and more the
    sharpness varies along the weights: a run that leaves a minimum comes to where the loss is
    steeper or flatter and turns back, and goes on oscillating at a bounded loss, or stays near
    the saddle at 0. Bounded oscillation is what is normal somewhat above eta_c. With one layer
    the sharpness is constant, and every run diverges. So boundedness is no sign of convergence,
    and what is tested above eta_c is "does not converge".

    Args:
        gaps: Loss at the end less that of the global minimum, any shape; what it is for a run that
            diverged, NaN say, does not matter.
        statuses: Codes of `gramdyn.dynamics.Status`, same shape: 0 where every loss was finite and
            below the limit.
        tolerance: Gap below which a run converged, above 0.

    Returns:
        "converged" (status 0 and |gap| < tolerance), "diverged" (status not 0) or "bounded" (the
        rest: slow runs below eta_c are here too), shape of `gaps`.

    Raises:
        InputError: for shapes that differ, a tolerance that is not above 0, or a run with status
            0 whose gap is not finite, or below 0 by more than the tolerance.

    Cost: a few operations a run.

    Source: Craciun & Ghoshdastidar (arXiv 2402.13108) for non-convergence; shares measured here.
    """
    gaps, codes = check_real("gaps", gaps), check_real("statuses", statuses)
    tolerance = check_positive("tolerance", tolerance)
    check(codes.shape == gaps.shape, "statuses", f"have the shape {gaps.shape}", codes.shape)
    ok = codes == 0
    least = -tolerance
    good = np.isfinite(gaps[ok]) & (gaps[ok] > least)
    check(bool(good.all()), "gaps", "be finite and at least 0 where the status is 0", gaps[ok])
    near = ok & (np.abs(gaps) < tolerance)
    return np.select([near, ok], OUTCOMES[:2], OUTCOMES[2])
