"""What the claims on structured layers share: models of a sweep by name, their sizes, rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr

from gramdyn.experiments.numbers import told
from gramdyn.experiments.runs import Runs


@dataclass(frozen=True)
class Model:
    """One network of a comparison.

    Attributes:
        name: What rows call it.
        tree: Which of the claim's sweeps has its runs.
        place: Where they stand on the sweep's axes.
        elsewhere: Numbers of another computation, to be told beside.
    """

    name: str
    tree: int
    place: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: str = ""

    def runs(self, trees: Sequence[xr.DataTree], **more: Any) -> Runs:
        """Its runs, at some place on further axes."""
        return Runs.of(trees[self.tree]).where(**self.place, **more)


def medians(values: np.ndarray) -> str:
    """Median over runs of each column, and its standard deviation."""
    middle, spread = np.median(values, axis=0), np.std(values, axis=0)
    pairs = zip(np.atleast_1d(middle), np.atleast_1d(spread), strict=True)
    return " / ".join(f"{told(float(mid))} ± {told(float(off))}" for mid, off in pairs)


def n_failed(accuracies: np.ndarray, least: float) -> int:
    """How many runs are below an accuracy, or no number."""
    return int(np.sum(~(accuracies >= least)))


def n_trained(network: Any) -> int:
    """Trained numbers of a network."""
    return sum(leaf.size for leaf in jax.tree.leaves(network.partition()[0]))
