"""What the claims on structured layers share: models of a sweep by name, their sizes, rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from gramdyn.experiments.numbers import told
from gramdyn.experiments.runs import Runs
from gramdyn.models.enriched_network import enriched_network

COLOURS = ("#3b72b8", "#cc4a3c")


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


def layered(name: str, pathway: str, correction: str = "none", elsewhere: str = "") -> Model:
    """One of the first sweep, by the pathway and what is beside it."""
    return Model(name, 0, {"pathway": pathway, "correction": correction}, elsewhere)


def medians(values: np.ndarray) -> str:
    """Median over runs of each column, and its standard deviation."""
    middle, spread = np.median(values, axis=0), np.std(values, axis=0)
    pairs = zip(np.atleast_1d(middle), np.atleast_1d(spread), strict=True)
    return " / ".join(f"{told(float(mid))} ± {told(float(off))}" for mid, off in pairs)


def n_failed(accuracies: np.ndarray, least: float) -> int:
    """How many runs are below an accuracy, or no number."""
    return int(np.sum(~(accuracies >= least)))


def n_trained(depth: int, n_inputs: int, width: int, n_outputs: int, **options: Any) -> int:
    """Trained numbers of a network of enriched layers."""

    def make(key: Any) -> Any:
        network = enriched_network(key, n_inputs, (width,) * depth, n_outputs, **options)
        return network.partition()[0]

    shapes = eqx.filter_eval_shape(make, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def draw_dots(
    axes: Axes,
    models: Sequence[Model],
    steps: Sequence[float],
    read: Callable[[Model, float], np.ndarray],
) -> None:
    """A line a model: every run a dot and the median a bar, at both steps."""
    for step, colour, off in zip(steps, COLOURS, (-0.15, 0.15), strict=True):
        for place, model in enumerate(models):
            values = read(model, step)
            height = np.full(len(values), place + off)
            axes.plot(values, height, ".", color=colour, alpha=0.5, ms=5.5)
            label = f"step {step}" if place == 0 else None
            axes.plot(np.median(values), place + off, "|", color=colour, ms=12, mew=2, label=label)
    axes.set_yticks(range(len(models)), [model.name for model in models])
    axes.set_ylim(len(models) - 0.4, -0.6)
