"""Slopes of power laws over the width, predicted beside measured."""

import numpy as np

from gramdyn.experiments.numbers import MINUS, told
from gramdyn.experiments.registry import Row
from gramdyn.report.statistics import fit_power_law


def slope_row(what: str, means: dict[int, float], allowed: tuple[float, float]) -> Row:
    """The slope of means against widths on log axes; for information where there is one width."""
    low, high = allowed
    wanted = f"{low} to {high}".replace("-", MINUS)
    law = fit_power_law(np.asarray(list(means)), np.asarray(list(means.values())))
    if law is None:
        return Row(what, wanted, "one width: no slope", None)
    return Row(what, wanted, told(law.slope), low <= law.slope <= high)
