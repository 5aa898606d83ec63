"""Runs of a sweep by their place on its axes."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Num


class Runs:
    """Runs of a sweep that came through, at some place on its axes.

    Attributes:
        parts: Groups, each with the indices of its runs.
    """

    def __init__(self, parts: list[tuple[xr.Dataset, np.ndarray]]):
        self.parts = parts

    @classmethod
    def of(cls, tree: xr.DataTree) -> "Runs":
        """All runs that came through."""
        nodes = [node.to_dataset() for node in tree.children.values()]
        return cls([(node, np.flatnonzero(np.asarray(node["status"]) == 0)) for node in nodes])

    def where(self, **places: Any) -> "Runs":
        """The runs at these values of axes."""
        found = []
        for node, runs in self.parts:
            for axis, value in places.items():
                runs = runs[[_is_at(here, value) for here in np.asarray(node[axis])[runs].tolist()]]
            if len(runs):
                found.append((node, runs))
        return Runs(found)

    def values(self, axis: str) -> list[Any]:
        """Values of an axis, ascending."""
        return sorted(
            {v for node, runs in self.parts for v in np.asarray(node[axis])[runs].tolist()}
        )

    def read_axis(self, axis: str) -> np.ndarray:
        """Where each run stands on an axis, in the order of `read`."""
        return np.concatenate([np.asarray(node[axis])[runs] for node, runs in self.parts])

    def read(self, name: str, step: int | None = -1) -> Num[np.ndarray, "runs *rest"]:
        """A record, runs first: at an index of the saved times, or at all of them, times last."""
        found = []
        for node, runs in self.parts:
            data = node[name] if step is None else node[name].isel(step=step)
            found.append(np.asarray(data)[runs])
        return np.concatenate(found)

    def weights(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows w_i and V_i at an index of the saved times, shapes (runs, k, D) and (runs, k, C)."""
        return self.read("hidden_rows", step), self.read("readout_rows", step)

    def steps(self) -> np.ndarray:
        """The saved steps."""
        return np.asarray(self.parts[0][0]["step"])

    def __len__(self) -> int:
        return sum(len(runs) for _, runs in self.parts)


def _is_at(here: Any, value: Any) -> bool:
    if isinstance(value, float) and isinstance(here, int | float):
        return bool(np.isclose(here, value, rtol=1e-9))
    return bool(here == value)
