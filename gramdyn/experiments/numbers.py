"""Stored results as numbers by a value of an axis, and how numbers are told."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Num

MINUS = "\N{MINUS SIGN}"


def by_axis(
    tree: xr.DataTree, name: str, axis: str, *, step: int | None = -1, **where: str
) -> dict[int, Num[np.ndarray, "runs *rest"]]:
    """A record for each value of an axis of the sweep, over the runs that came through.

    Args:
        tree: Results.
        name: The record.
        axis: Coordinate along the runs, such as "depth".
        step: Index of the saved time; None for all of them, as the last axis.
        where: Labels along other axes, such as closure="frozen".

    Returns:
        From the value to an array with the runs first, values ascending.
    """
    found: dict[int, list[np.ndarray]] = {}
    for node in tree.children.values():
        data = node[name].sel(where) if where else node[name]
        data = data if step is None else data.isel(step=step)
        good = np.asarray(node["status"]) == 0
        places = np.asarray(node[axis])
        for value in np.unique(places[good]):
            found.setdefault(int(value), []).append(np.asarray(data)[good & (places == value)])
    return {value: np.concatenate(found[value]) for value in sorted(found)}


def steps_of(tree: xr.DataTree) -> np.ndarray:
    """Saved steps, the same in every group of a claim."""
    return np.asarray(next(iter(tree.children.values()))["step"])


def quantiles(values: np.ndarray, at: Sequence[float] = (0.1, 0.5, 0.9)) -> np.ndarray:
    """Quantiles over runs that are values of runs, so that an infinite one spoils no other."""
    return np.quantile(np.asarray(values, np.float64), at, axis=0, method="nearest")


def told(number: float) -> str:
    """A number to two or three figures, with a true minus sign."""
    text = f"{number:.2g}" if abs(number) < 1e-2 else f"{number:.3g}"
    return text.replace("-", MINUS)


def spread(values: np.ndarray) -> str:
    """Median, and 10 to 90 % over runs."""
    low, _, high = quantiles(values)
    return f"{told(float(np.median(values)))} ({told(low)} to {told(high)}, {len(values)} runs)"


def is_rounding(gaps: np.ndarray, tree: xr.DataTree) -> bool:
    """Whether the largest differences between two exact computations, one a run, are rounding.

    In float64 every run is judged. Rounding is amplified where a unit at rest on its kink flips a
    step earlier on one side: to some 1e-11 in a few runs. In float32 such flips are frequent, so
    that runs are alike pointwise only in the middle, and the median is judged.
    """
    if tree.attrs.get("precision", "float64") == "float64":
        return bool(gaps.max() < 1e-9)
    return bool(np.median(gaps) < 1e-2)
