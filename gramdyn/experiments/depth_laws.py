"""Chains of random matrices by theory: how signals and condition depend on the depth.

Of matrices with entries N(0, 1 / N), unless told otherwise. Source: Newman 1986 for the exponents;
the rest derived here.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import digamma, polygamma

EULER = 0.5772156649015329


def lyapunov_exponents(width: int) -> Float[np.ndarray, " N"]:
    """(ln(2/N) + psi((N - i + 1) / 2)) / 2, i = 1 to N: growth of ln sigma_i a layer."""
    return (np.log(2 / width) + digamma((width - np.arange(width)) / 2)) / 2


def condition_growth(width: int) -> float:
    """Growth of log10 kappa a layer: the first exponent less the last, over ln 10."""
    exponents = lyapunov_exponents(width)
    return float((exponents[0] - exponents[-1]) / np.log(10))


def square_drift(width: int) -> float:
    """Mean of ln |h'|^2 - ln |h|^2 in one layer, ln(2/N) + psi(N/2), near -1/N."""
    return float(np.log(2 / width) + digamma(width / 2))


def square_variance(width: int) -> float:
    """Its variance, psi'(N/2), near 2/N; layers add up."""
    return float(polygamma(1, width / 2))


def circulant_drift() -> float:
    """Mean of ln |fft c| of a random circulant layer at any frequency but two, -gamma / 2."""
    return -EULER / 2


def circulant_variance() -> float:
    """Its variance, pi^2 / 24; circulants commute, so nothing averages out."""
    return float(np.pi**2 / 24)
