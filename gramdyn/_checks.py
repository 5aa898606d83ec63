"""Checks of Python values before tracing; each raises an `InputError` of one line."""

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from gramdyn._errors import InputError


def check(condition: bool, name: str, demand: str, value: Any) -> None:
    """Raise "Argument `name` must `demand`, but is `value`." unless the condition holds."""
    if not condition:
        told = " ".join(repr(value).split())  # representations of modules span lines
        raise InputError(f"Argument `{name}` must {demand}, but is {told}.")


def check_positive_int(name: str, value: Any) -> int:
    """Return `value` as an int of at least 1."""
    good = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
    check(good, name, "be a whole number of at least 1", value)
    return int(value)


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    check(good and math.isfinite(value) and value > 0, name, "be a finite number above 0", value)
    return float(value)


def check_nonnegative(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    check(good and math.isfinite(value) and value >= 0, name, "be a finite number >= 0", value)
    return float(value)


def check_seed(name: str, value: Any) -> int:
    """Return `value` as an int of at least 0."""
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    check(good, name, "be a whole number of at least 0", value)
    return int(value)


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; words such as "no" would count as true."""
    check(isinstance(value, bool), name, "be true or false", value)
    return value


def check_real(name: str, value: Any) -> np.ndarray:
    """Return `value` as a new float64 array of any shape; refuse what are not real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        message = f"Argument `{name}` must be an array, but its rows differ in length."
        raise InputError(message) from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"Argument `{name}` must hold real numbers, but is of {array.dtype}.")
    return np.array(array, dtype=np.float64)


def check_matrix(name: str, value: Any) -> np.ndarray:
    """Return `value` as a new float64 array with two axes, no empty axis and no NaN or inf."""
    array = check_real(name, value)
    if array.ndim != 2:
        raise InputError(f"Argument `{name}` must have two axes, but has shape {array.shape}.")
    if array.shape[0] == 0:
        raise InputError(f"Argument `{name}` must hold at least one sample, but holds none.")
    if array.shape[1] == 0:
        raise InputError(f"Argument `{name}` must have at least one column, but has none.")
    check_finite(name, array)
    return array


def check_finite(name: str, array: np.ndarray) -> None:
    """Refuse NaN and inf in a matrix; say how many there are and the first row (from 0)."""
    rows, _ = np.nonzero(~np.isfinite(array))
    if rows.size:
        found = f"{rows.size} entries are NaN or inf, the first in row {rows[0]}"
        raise InputError(f"Argument `{name}` must be finite everywhere, but {found}.")


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
) -> None:
    """Refuse a Python number outside its range; None and arrays, which may be traced, pass."""
    if value is None or hasattr(value, "dtype"):
        return
    good = isinstance(value, int | float) and not isinstance(value, bool)
    good = good and math.isfinite(value) and (above is None or value > above)
    good = good and (least is None or value >= least) and (below is None or value < below)
    bounds = (("above", above), ("at least", least), ("below", below))
    told = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    check(good, name, f"be a finite number {told}".rstrip(), value)


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return `widths` as a tuple of positive ints, one a hidden layer, at least one."""
    good = isinstance(widths, Sequence) and len(widths) > 0
    good = good and all(isinstance(w, int) and w >= 1 for w in widths)
    check(good, "widths", "hold one whole number of at least 1 for each hidden layer", widths)
    return tuple(int(w) for w in widths)


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Say what is allowed in place of a name that is not known, the likeliest first."""
    known = sorted(allowed)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return f"{hint}allowed: {', '.join(known)}"


def check_known(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is one of `allowed`; otherwise say what is allowed and nearest."""
    known = list(allowed)
    if name not in known:
        raise InputError(f"Unknown {kind} `{name}`; {nearest(name, known)}.")
    return name
