"""Leaving and reaching saddles: the flow followed on the host, and the laws of its times."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from gramdyn._checks import check, check_known, check_positive, check_positive_int
from gramdyn.deep_linear._checks import Number, check_power, check_products, check_scalar
from gramdyn.deep_linear._points import check_point, flatten, gradients, loss_of, unflatten
from gramdyn.deep_linear._products import Weights


@dataclass(frozen=True)
class Path:
    """Gradient flow from one point.

    Attributes:
        weights: Weights at the end.
        times: Sampled times, from 0, shape (n_samples,).
        losses: Loss at these times, without a floor, shape (n_samples,).
    """

    weights: Weights
    times: Float[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]


def follow(
    weights: Any,
    target: Any,
    time: float,
    *,
    n_samples: int = 101,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    method: Literal["DOP853", "LSODA"] = "DOP853",
) -> Path:
    """Gradient flow dW_l/dt = W_{L:l+1}^T (T - Pi) W_{l-1:1}^T from one point, on the host.

    Flow inside an invariant subspace stays there to the last bit if T is diagonal; otherwise
    rounding leaves it and grows, so follow saddles in coordinates where T is diagonal.

    Args:
        weights: W_1, ..., W_L at time 0, shapes (d_l, d_{l-1}), float64.
        target: Whitened target T, shape (d_L, d_0).
        time: Length of the flow, above 0.
        n_samples: Times at which the loss is sampled, evenly from 0 to `time`, at least 2.
        rtol: Relative tolerance of the integrator, above 0.
        atol: Absolute tolerance, above 0; it must be far below the smallest weights that matter,
            or rounding leaves the saddle for them.
        method: "DOP853", or "LSODA" where the flow is stiff.

    Returns:
        Last weights, times and losses.

    Raises:
        InputError: float32, anything not finite, shapes that do not match, or settings out of
            range.
        RuntimeError: The integrator gave up.

    Cost: O(L^2 d^3) a step; for small networks. A batch of networks belongs to `simulate`.
    Source: E. Hairer, S. Norsett, G. Wanner, Solving Ordinary Differential Equations I (1993).
    """
    found, wanted = check_point(weights, target)
    check(isinstance(method, str), "method", "be a word", type(method))
    check_known("method", method, ("DOP853", "LSODA"))
    check_products("weights", wanted, wanted, *found, *found)  # of squares of the gradient
    n_samples = check_positive_int("n_samples", n_samples)
    check(n_samples >= 2, "n_samples", "be at least 2", n_samples)
    times = np.linspace(0.0, check_positive("time", time), n_samples)
    tolerances = {"rtol": check_positive("rtol", rtol), "atol": check_positive("atol", atol)}

    def speed(_: float, flat: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return -flatten(gradients(unflatten(flat, found), wanted))

    solved = solve_ivp(speed, (0.0, times[-1]), flatten(found), method, times, **tolerances)
    if not solved.success:
        raise RuntimeError(f"The integrator gave up: {solved.message}")
    states = [unflatten(state, found) for state in solved.y.T]
    return Path(states[-1], times, np.array([loss_of(state, wanted) for state in states]))


def escape_time(n_layers: int, sigma: Number, delta: Number, level: Number | None = None) -> float:
    """Time to leave a canonical saddle along one mode, from weights delta on every layer.

    While s = delta^L is small beside sigma, ds/dt = L sigma s^{2-2/L}, so s reaches `level` at

        log(level^{1/2}/delta)/sigma                                          for L = 2,
        (delta^{-(L-2)} - level^{-(L-2)/L}) / ((L-2) sigma)                   for L >= 3.

    The leading law leaves the level out: log(1/delta)/sigma, 1/(sigma delta) for L = 3,
    1/(2 sigma delta^2) for L = 4. Saturation at sigma is not in it: `mode_time` is exact.

    Args:
        n_layers: L, at least 2.
        sigma: Singular value of the mode, above 0.
        delta: Entry of every layer along the mode at time 0, above 0.
        level: Value s of the mode in Pi, above delta^L; the leading law unless given.

    Returns:
        The time.

    Raises:
        InputError: Values out of range.

    Cost: O(1).
    Source: Saxe, McClelland, Ganguli (arXiv 1312.6120) for L = 2; for any L, derived here, tested.
    """
    depth = _check_depth(n_layers, 2)
    sigma, delta = check_scalar("sigma", sigma, above=0), check_scalar("delta", delta, above=0)
    check_power("delta", delta, depth)
    if level is not None:
        level = check_scalar("level", level, above=0)
        check(level > delta**depth, "level", f"be above delta^L = {delta**depth:g}", level)
    if depth == 2:
        return float(np.log((1.0 if level is None else level**0.5) / delta) / sigma)
    reached = 0.0 if level is None else level ** (2.0 / depth - 1.0)
    return (delta ** (2 - depth) - reached) / ((depth - 2) * sigma)


def algebraic_approach(n_layers: int, sigma: Number, time: Number) -> float:
    """Size |s| of a mode of the wrong sign that decays onto a saddle: ((L-2) sigma t)^{-L/(L-2)}.

    For L >= 3 a balanced mode with s < 0 obeys d|s|/dt = -L |s|^{2-2/L} (sigma + |s|), and late
    its size forgets where it began; for L = 2 the decay is exponential.

    Args:
        n_layers: L, at least 3.
        sigma: Singular value of the mode, above 0.
        time: Time, above 0; the law holds once the result is far below sigma.

    Returns:
        |s|, the size of the mode in Pi.

    Raises:
        InputError: Values out of range.

    Cost: O(1).
    Source: derived here, tested.
    """
    depth = _check_depth(n_layers, 3)
    sigma, time = check_scalar("sigma", sigma, above=0), check_scalar("time", time, above=0)
    scaled, power = (depth - 2) * sigma * time, -depth / (depth - 2)
    check_power("time", scaled, power)
    return float(scaled**power)


def _check_depth(n_layers: Any, least: int) -> int:
    depth = check_positive_int("n_layers", n_layers)
    check(depth >= least, "n_layers", f"be at least {least}", n_layers)
    return depth
