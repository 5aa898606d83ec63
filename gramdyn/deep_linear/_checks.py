"""Checks of what comes in, shared by all of the toolbox: precision, size, lists and numbers."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix

Number = float | int
# Products of norms up to 10 to this power leave room for their squares in float64.
MOST = 150


def check_list(name: str, value: Any) -> tuple[Any, ...]:
    """The entries of a sequence or array; a single number, None or a word is none."""
    good = np.iterable(value) and not isinstance(value, str | bytes | dict)
    check(good, name, "be a sequence", value)
    return tuple(value)


def check_double(name: str, value: Any) -> Float[np.ndarray, "_ _"]:
    """A matrix as a new float64 array, refused if not finite or in lower precision.

    In float32 rounding has a rank and exact zeros are luck, so that integers would come out wrong.
    """
    matrix, kind = check_matrix(name, value), np.asarray(value).dtype
    demand = "be float64, since ranks of float32 products mean nothing"
    check(kind.kind != "f" or kind.itemsize >= 8, name, demand, str(kind))
    return matrix


def check_products(name: str, *factors: Any) -> None:
    """Refuse factors whose norms, those above 1 multiplied, pass 1e150: products overflow."""
    size = sum(max(0.0, _log_norm(factor)) for factor in factors)
    if size > MOST:  # many layers: spectral norms are smaller, and dearer
        size = sum(max(0.0, _log_norm(factor, 2)) for factor in factors)
    demand = f"have norms whose product is at most 1e{MOST}, or products overflow"
    check(size <= MOST, name, demand, f"of norms with a product of 1e{size:.0f}")


def _log_norm(matrix: Any, order: int | None = None) -> float:
    """Decimal logarithm of the norm, by default Frobenius', of what may itself overflow."""
    values = np.atleast_1d(np.asarray(matrix, dtype=np.float64))
    top = float(np.abs(values).max())
    if top == 0:
        return -math.inf
    return math.log10(top) + math.log10(float(np.linalg.norm(values / top, order)))


def check_target(target: Any) -> Float[np.ndarray, "dL d0"]:
    """The target as a float64 matrix, refused if its square overflows."""
    matrix = check_matrix("target", target)
    check_products("target", matrix)
    return matrix


def check_scalar(
    name: str,
    value: Any,
    *,
    above: Number | None = None,
    least: Number | None = None,
    most: float = 10.0**MOST,
) -> float:
    """A real number as a float, refused outside its range; sizes above `most` overflow."""
    number = _as_float(value)
    good = abs(number) <= most  # refuses NaN too
    good = good and (above is None or number > above) and (least is None or number >= least)
    bounds = (("above", above), ("at least", least), ("of size at most", most))
    told = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    check(good, name, f"be a finite number {told}", value)
    return number


def _as_float(value: Any) -> float:
    """A real number as a float, inf if too large and NaN if no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_power(name: str, value: float, exponent: Number) -> None:
    """Refuse a number above 0 whose power by this exponent leaves the range of float64."""
    good = 0 < value < math.inf and abs(exponent * math.log10(value)) <= 2 * MOST
    check(good, name, f"have a power {exponent:g} from 1e-300 to 1e300", value)


def check_widths(widths: Any, least: int = 2) -> tuple[int, ...]:
    """Widths d_0, ..., d_L as ints, refused unless whole and as many as `least`."""
    found = check_list("widths", widths)
    whole = all(_is_whole(w) and w >= 1 for w in found)
    demand = f"hold d_0, ..., d_L, at least {least} whole numbers of at least 1"
    check(whole and len(found) >= least, "widths", demand, widths)
    return tuple(int(w) for w in found)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_modes(name: str, value: Any, allowed: Sequence[int], demand: str) -> tuple[int, ...]:
    """Different modes out of the allowed ones, in the order given."""
    found = check_list(name, value)
    whole = all(_is_whole(i) and i in allowed for i in found)
    good = whole and len(set(found)) == len(found)
    check(good, name, demand, value)
    return tuple(int(i) for i in found)


def check_shapes(name: str, value: Any, wanted: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """Matrices of these shapes as float64 arrays."""
    found = tuple(check_double(name, entry) for entry in check_list(name, value))
    told = [entry.shape for entry in found]
    check(told == list(wanted), name, f"have the shapes {list(wanted)} of the weights", told)
    return found
