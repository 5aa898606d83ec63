"""Rows of a claim that are judged by a bound."""

from typing import Any

import numpy as np

from gramdyn.experiments.numbers import told
from gramdyn.experiments.registry import Row


def below(what: str, found: Any, bound: float) -> Row:
    """A number that has to be below a bound."""
    return Row(what, f"below {told(bound)}", told(float(found)), bool(found < bound))


def above(what: str, found: Any, bound: float) -> Row:
    """A number that has to be above a bound."""
    return Row(what, f"above {told(bound)}", told(float(found)), bool(found > bound))


def near(what: str, found: Any, wanted: float, off: float, digits: int = 4) -> Row:
    """A number that has to be near another one."""
    good = bool(abs(found - wanted) <= off)
    return Row(what, f"{wanted:.{digits}g} ± {told(off)}", f"{found:.{digits}g}", good)


def count(what: str, right: np.ndarray) -> Row:
    """How many of many are right, which has to be all of them."""
    return Row(what, f"all {len(right)}", f"{int(np.sum(right))}", bool(np.all(right)))


def fraction(what: str, found: np.ndarray, wanted: float) -> Row:
    """A share of runs against a probability, to four standard errors."""
    off = 4 * np.sqrt(wanted * (1 - wanted) / len(found))
    return near(what, float(np.mean(found)), wanted, float(off))
