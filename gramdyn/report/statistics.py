"""Numbers over seeds and over time: quantiles, thinning, slopes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

MAX_TIMES = 150


class Band(NamedTuple):
    """Quantiles over seeds at each time: 10 %, 50 % and 90 %, each of shape (times,)."""

    low: Float[np.ndarray, "*times"]
    mid: Float[np.ndarray, "*times"]
    high: Float[np.ndarray, "*times"]


def band_over_seeds(values: Num[np.ndarray, "runs *times"]) -> Band:
    """Median and 10-90 % quantiles over runs, shape (runs, times) -> (times,) each.

    Infinite entries are allowed: a quantile that would lie between a number and infinity, or above
    all numbers, is infinite.
    """
    values, shares = np.asarray(values, np.float64), [0.1, 0.5, 0.9]
    endless = np.isposinf(values)
    if not endless.any():
        return Band(*np.quantile(values, shares, axis=0))
    # The largest number in place of infinity keeps the order, and no difference is infinite.
    finite = np.where(endless, np.max(values, where=~endless, initial=0.0), values)
    above = np.quantile(values, shares, axis=0, method="higher")
    return Band(*np.where(np.isposinf(above), np.inf, np.quantile(finite, shares, axis=0)))


def thin_steps(
    steps: Int[np.ndarray, " times"], limit: int = MAX_TIMES
) -> Int[np.ndarray, " kept"]:
    """Indices of at most about `limit` saved steps, evenly spaced in the logarithm, ends kept."""
    if len(steps) <= limit:
        return np.arange(len(steps))
    wanted = np.geomspace(1, steps[-1] - steps[0] + 1, limit) + steps[0] - 1
    return np.unique(np.searchsorted(steps, wanted).clip(0, len(steps) - 1))


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x^slope."""

    slope: float
    factor: float

    def __call__(self, x: Shaped[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        """Its values."""
        return self.factor * np.asarray(x, np.float64) ** self.slope


def fit_power_law(x: Num[np.ndarray, " points"], y: Num[np.ndarray, " points"]) -> PowerLaw | None:
    """Least squares line through log y against log x; None without two positive points.

    Args:
        x: Where, shape (points,).
        y: What, shape (points,). Points that are not above 0 on both axes are left out.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    good = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    if len(np.unique(x[good])) < 2:
        return None
    log_x, log_y = np.log(x[good]), np.log(y[good])
    away = log_x - log_x.mean()
    slope = float(away @ log_y / (away @ away))
    return PowerLaw(slope, float(np.exp(log_y.mean() - slope * log_x.mean())))


def log_ticks(low: float | int, high: float | int) -> list[float]:
    """Where a logarithmic axis gets its labels: powers of ten if they are enough, else finer."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    every = max(1, (last - first) // 7)
    powers = range(first, last + 1, every)
    for marks in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8)):
        ticks = [float(f"{mark}e{power}") for power in powers for mark in marks]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside
    return [float(f"{tick:.3g}") for tick in np.linspace(low, high, 5)[1:-1]]


@dataclass(frozen=True)
class StepAxis:
    """A logarithmic axis of steps with a place for step 0.

    Attributes:
        zero: Where step 0 is drawn: at half the first saved step after it.
        last: The last step.
    """

    zero: float
    last: float

    @classmethod
    def of(cls, steps: list[Int[np.ndarray, "..."]]) -> "StepAxis":
        """The axis for these saved steps."""
        every = np.concatenate([np.asarray(one, np.float64) for one in steps])
        above = every[every > 0]
        return cls(float(above.min() / 2), float(above.max())) if len(above) else cls(0.5, 1.0)

    def place(self, steps: Int[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """Where each step is drawn."""
        return np.where(steps > 0, steps, self.zero).astype(np.float64)

    def ticks(self) -> list[int]:
        """Steps that get a label: 0, the powers of ten, and 2 and 5 times them on a short axis."""
        return [0, *(round(tick) for tick in log_ticks(2 * self.zero, self.last))]
