"""A network of two scalar layers from any start, solved exactly."""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from gramdyn.deep_linear._checks import Number, check_scalar
from gramdyn.deep_linear.modes import check_times, mode_solution

MOST_WEIGHT = 1e75  # its fourth power, in p m, is still finite


def scalar_two_layer(
    sigma: Number, first: Number, second: Number, times: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """Product s(t) = w_2 w_1 of two scalar layers, balanced or not.

    dw_1/dt = w_2 (sigma - s),   dw_2/dt = w_1 (sigma - s);   kappa = w_2^2 - w_1^2 is conserved

        ds/dt = sqrt(kappa^2 + 4 s^2) (sigma - s)

    With s = (|kappa| / 2) sinh theta, y = tanh(theta / 2) obeys dy/dt = sigma (1 - y^2) -
    |kappa| y. In p = (w_2 + w_1)^2 and m = (w_2 - w_1)^2 at t = 0, q = sqrt(kappa^2 + 4 sigma^2),
    its solution is

        s = (p g - m / g) / 4,   g = (1 + (2 sigma + m) h) / (1 - (2 sigma - p) h),
        h = tanh(q t / 2) / q

    and at kappa = 0 it is `mode_solution` of two layers. A start with kappa = 0 and a product of
    the wrong sign ends at 0; every other one with a nonzero weight ends at sigma.

    Args:
        sigma: Target, a number of size up to 1e150, beyond which products overflow.
        first: w_1 at t = 0, of size up to 1e75.
        second: w_2 at t = 0, of size up to 1e75.
        times: Times of at least 0 in any order, shape (T,).

    Returns:
        Products at the times, shape (T,).

    Raises:
        InputError: for NaN, inf, negative times or numbers so large that products overflow.

    Cost: a few operations a time.

    Source: Saxe, McClelland, Ganguli, arXiv 1312.6120 (hyperbolic coordinates); Riccati form
    derived here, tested.
    """
    sigma = check_scalar("sigma", sigma)
    first = check_scalar("first", first, most=MOST_WEIGHT)
    second = check_scalar("second", second, most=MOST_WEIGHT)
    moments = check_times(times)
    # The flow is the same with the signs of w_2 and sigma both changed.
    sign = -1.0 if sigma < 0 else 1.0
    return sign * _toward_positive(sign * sigma, first, sign * second, moments)


def _toward_positive(
    sigma: float, first: float, second: float, times: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """The product for sigma >= 0."""
    p, m = (second + first) ** 2, (second - first) ** 2
    if p * m == 0:
        return mode_solution(2, sigma, first * second, times)
    q = math.sqrt(p * m + 4 * sigma**2)
    h = np.tanh(q * times / 2) / q
    # 1 - 2 sigma h as a sum of positive terms: it goes to 0 where p and m differ much
    left = (p * m / (q + 2 * sigma) + 4 * sigma * expit(-q * times)) / q
    growth = (1 + (2 * sigma + m) * h) / (left + p * h)
    return (p * growth - m / growth) / 4
