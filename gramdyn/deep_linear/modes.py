"""One aligned, balanced mode of a deep linear network, solved exactly.

Where W_l = Q_l D_l Q_{l-1}^T with orthonormal Q_l that end in the singular vectors of the target
and equal diagonals, each singular value s of the map moves by itself:

    ds/dt = L |s|^{2 - 2/L} (sigma - s)

In x = s / sigma and c = L sigma^{2 - 2/L} t the law holds no parameter but L. Elapsed time is
elementary for L = 1, 2 and an incomplete beta function for L >= 3; the inverse is a bracketed root.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.polynomial.polynomial import polyval
from scipy.optimize import brentq
from scipy.special import digamma, expit, hyp2f1

from gramdyn._checks import check, check_positive_int, check_real
from gramdyn.deep_linear._checks import Number, check_scalar

# At most 1/2 to the power of this many terms is left out of the series at the target.
TERMS = 60


def mode_solution(
    n_layers: int, sigma: Number, start: Number, times: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """Strength s(t) of an aligned balanced mode.

    ds/dt = L |s|^{2 - 2/L} (sigma - s),   s(0) = start

        L = 1            s = sigma + (start - sigma) e^{-t}
        L = 2, start > 0 s = sigma / (1 + (sigma / start - 1) e^{-2 sigma t})
        sigma = 0        |s| = |start| (1 + (2L - 2) t |start|^{2 - 2/L})^{-L / (2L - 2)}, L >= 2
        L >= 3           the root of t = mode_time(L, sigma, start, s)

    A start of 0 stays 0 for L >= 2. A negative start is on the wrong side of the saddle: for
    L >= 2 it rises to 0 and ends there, algebraically for L >= 3.

    Args:
        n_layers: Number of weight layers L, at least 1.
        sigma: Singular value of the target, at least 0.
        start: Strength at t = 0, any finite number.
        times: Times of at least 0 in any order, shape (T,).

    Returns:
        Strengths at the times, relative error about 1e-12, shape (T,).

    Raises:
        InputError: for values out of range, NaN or inf.

    Cost: L <= 2 a few operations a time; L >= 3 a bracketed root a time, about 0.1 ms each.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120; Gidel, Bach, Lacoste-Julien, arXiv
    1904.13262 (L = 2); survey in Wendin & Altafini, arXiv 2511.10362.
    """
    sigma, start = _check_mode(n_layers, sigma, start)
    moments = check_times(times)
    if n_layers == 1:
        return start * np.exp(-moments) - sigma * np.expm1(-moments)
    if start in (0.0, sigma):
        return np.full(len(moments), float(start))
    if sigma == 0:
        return _decay(n_layers, start, moments)
    if n_layers == 2:
        return _logistic(sigma, start, moments)
    return np.array([_deep(n_layers, sigma, start, moment) for moment in moments])


def mode_time(n_layers: int, sigma: Number, start: Number, end: Number) -> float:
    """Time an aligned balanced mode takes from one strength to another.

    t = (1/L) int_start^end dx / (|x|^{2 - 2/L} (sigma - x))

    For L >= 3 it is (F(end) - F(start)) / L with F(x) = x^a / (a sigma) 2F1(1, a; a+1; x / sigma),
    a = 2/L - 1. Both ends of that function lose digits, so its singular parts are split off here.

    Args:
        n_layers: Number of weight layers L, at least 1.
        sigma: Singular value of the target, at least 0.
        start: Strength to start from, any finite number.
        end: Strength to reach; between `start` and the limit of the mode.

    Returns:
        Time of at least 0: 0 where `end` is `start`, inf where `end` is the limit, which is never
        reached: sigma for a positive start or L = 1, otherwise 0.

    Raises:
        InputError: for values out of range, or an `end` that the mode does not pass.

    Cost: two values of an incomplete beta function.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120; the split derived here, tested.
    """
    sigma, start = _check_mode(n_layers, sigma, start)
    end = check_scalar("end", end)
    limit = sigma if n_layers == 1 or start > 0 else 0.0
    on_path = min(start, limit) <= end <= max(start, limit)
    check(on_path, "end", f"lie between the start {start:g} and the limit {limit:g}", end)
    if end in (start, limit):
        return 0.0 if end == start else math.inf
    if n_layers == 1:
        return math.log((start - sigma) / (end - sigma))
    power = 2 - 2 / n_layers
    if sigma == 0:
        return (abs(end) ** -power - abs(start) ** -power) / (2 * n_layers - 2)
    there, here = (_clock(n_layers, sigma, start, _coordinate(sigma, s)) for s in (end, start))
    return (there - here) / (n_layers * sigma**power)


def half_time(n_layers: int, sigma: Number, start: Number) -> float:
    """Time at which an aligned balanced mode reaches half its target.

    Args:
        n_layers: Number of weight layers L, at least 1.
        sigma: Singular value of the target, above 0.
        start: Strength at t = 0, at most sigma / 2, and above 0 for L >= 2.

    Returns:
        Time of at least 0; inf for a start of 0 and L >= 2.

    Raises:
        InputError: for values out of range.

    Cost: one `mode_time`.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120.
    """
    check_scalar("sigma", sigma, above=0)
    sigma, start = _check_mode(n_layers, sigma, start)
    if start == 0 and n_layers >= 2:
        return math.inf
    return mode_time(n_layers, sigma, start, sigma / 2)


def leading_half_time(n_layers: int, sigma: Number, start: Number) -> float:
    """Length of the plateau of a small mode, the leading term of its half-time.

        L = 2   log(sigma / start - 1) / (2 sigma), exact
        L >= 3  start^{-(1 - 2/L)} / ((L - 2) sigma)

    For L >= 3 exact over leading is 1 + O((start / sigma)^{1 - 2/L}) as the start goes to 0.

    Args:
        n_layers: Number of weight layers L, at least 2; a single layer has no plateau.
        sigma: Singular value of the target, above 0.
        start: Strength at t = 0, above 0 and at most sigma / 2.

    Returns:
        Time of at least 0.

    Raises:
        InputError: for values out of range.

    Cost: a few operations.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120; L >= 3 derived here, tested.
    """
    check(check_positive_int("n_layers", n_layers) >= 2, "n_layers", "be at least 2", n_layers)
    sigma, start = check_scalar("sigma", sigma, above=0), check_scalar("start", start)
    check(0 < start <= sigma / 2, "start", "be above 0 and at most half of sigma", start)
    if n_layers == 2:
        return math.log(sigma / start - 1) / (2 * sigma)
    return start ** -(1 - 2 / n_layers) / ((n_layers - 2) * sigma)


def check_times(times: Any) -> Float[np.ndarray, "T"]:
    """The times as float64, refused unless finite, at least 0 and along one axis."""
    moments = check_real("times", times)
    good = moments.ndim == 1 and bool(np.all(np.isfinite(moments) & (moments >= 0)))
    check(good, "times", "hold finite times of at least 0 along one axis", moments)
    return moments


def _check_mode(n_layers: Any, sigma: Any, start: Any) -> tuple[float, float]:
    """Target and start as floats."""
    check_positive_int("n_layers", n_layers)
    return check_scalar("sigma", sigma, least=0), check_scalar("start", start)


def _decay(n_layers: int, start: float, times: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    """Algebraic decay of a mode without a target, L >= 2."""
    power = 2 - 2 / n_layers
    rate = (2 * n_layers - 2) * abs(start) ** power
    return start * (1 + rate * times) ** (-1 / power)


def _logistic(sigma: float, start: float, times: Float[np.ndarray, "T"]) -> Float[np.ndarray, "T"]:
    """Two layers, sigma > 0, without a difference of numbers of one sign."""
    left, gone = np.exp(-2 * sigma * times), -np.expm1(-2 * sigma * times)
    if start > 0:
        return start * sigma / (sigma * left + start * gone)
    return start * sigma * left / (sigma - start * gone)


def _deep(n_layers: int, sigma: float, start: float, time: float) -> float:
    """Strength at one time, L >= 3, as a root between bounds of the coordinate."""
    elapsed = n_layers * sigma ** (2 - 2 / n_layers) * float(time)
    if elapsed == 0:
        return start
    first = _coordinate(sigma, start)
    begun = _clock(n_layers, sigma, start, first)
    last = _bound(n_layers, sigma, start, elapsed)
    # By differences: a start far down makes the clock large and the time left of it small.
    found = brentq(
        lambda y: _clock(n_layers, sigma, start, y) - begun - elapsed,
        first,
        last,
        xtol=1e-15,
        rtol=4 * np.finfo(float).eps,
        maxiter=1000,
    )
    return _strength(sigma, start, found)


def _coordinate(sigma: float, s: float) -> float:
    """Coordinate that grows along a path and resolves both of its ends.

    log(s / (sigma - s)) below the target, log(sigma / (s - sigma)) above, log(sigma / |s|) on the
    wrong side.
    """
    if s < 0:
        return math.log(sigma) - math.log(-s)
    return math.log(min(s, sigma)) - math.log(abs(s - sigma))


def _strength(sigma: float, start: float, y: float) -> float:
    """Inverse of `_coordinate` on the side where the mode started."""
    if start < 0:
        return -sigma * math.exp(-y)
    return sigma * float(expit(y)) if start < sigma else sigma * (1 + math.exp(-y))


def _bound(n_layers: int, sigma: float, start: float, elapsed: float) -> float:
    """Coordinate that the mode has not reached after `elapsed`; one is added for rounding.

    With b = 1 - 2/L and x, 1/x or |x| for x = s / sigma, the coordinate moves at x^b <= 1 below,
    (1/x)^{-1-b} <= 4 above once 1/x >= 1/2, x^b (1 + x) <= 2 x^b on the wrong side once |x| <= 1.
    """
    first, b = _coordinate(sigma, start), 1 - 2 / n_layers
    if start < 0:
        return float(np.logaddexp(b * max(first, 0.0), math.log(2 * b * elapsed))) / b + 1
    return first + elapsed + 1 if start < sigma else max(first, 0.0) + 4 * elapsed + 1


def _clock(n_layers: int, sigma: float, start: float, y: float) -> float:
    """Time at coordinate y in units of 1 / (L sigma^{2 - 2/L}), from an origin of each side."""
    a, b = 2 / n_layers, 1 - 2 / n_layers
    if start < 0:
        return _clock_wrong_side(n_layers, y)
    if start > sigma:
        return _beta(2 - a, y)
    if b == 0:
        return y
    # log x, x = expit(y): int dx x^{-1-b} / (1 - x) = -x^{-b} / b + int dx x^{-b} / (1 - x)
    return -math.exp(b * float(np.logaddexp(0.0, -y))) / b + _beta(a, y)


def _clock_wrong_side(n_layers: int, y: float) -> float:
    """Time from -inf to -sigma e^{-y}: the integral of x^{-1-b} / (1 + x) from e^{-y}."""
    a, b = 2 / n_layers, 1 - 2 / n_layers
    if y < 0:
        return _alternating(2 - a, math.exp(y))
    if b == 0:
        return float(np.logaddexp(0.0, y))
    return math.exp(b * y) / b + _alternating(a, math.exp(-y)) - math.pi / math.sin(math.pi * a)


def _alternating(a: float, x: float) -> float:
    """int_0^x z^{a-1} / (1 + z) dz for x in [0, 1]."""
    return x**a / a * float(hyp2f1(1, a, a + 1, -x))


def _beta(a: float, y: float) -> float:
    """int_0^x z^{a-1} / (1 - z) dz at x = expit(y), the incomplete beta function B_x(a, 0).

    x^a / a 2F1(1, a; a+1; x), which SciPy 1.17 gets wrong by factors near x = 1 (a = 5/3 from
    0.9999 on). There the logarithm is split off and the rest is a series in 1 - x.
    """
    if y <= 0:
        x = float(expit(y))
        return x**a / a * float(hyp2f1(1, a, a + 1, x))
    orders = np.arange(1, TERMS + 1)
    terms = np.cumprod((orders - a) / orders) / orders  # (1 - a)_m / (m! m)
    rest = polyval(float(expit(-y)), np.append(0.0, terms))
    return float(np.logaddexp(0.0, y) - digamma(a) - np.euler_gamma - rest)
