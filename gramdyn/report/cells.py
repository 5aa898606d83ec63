"""Stored results as cells: the runs that differ in nothing but their seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int, Num

# Coordinates along `run` that say what a run came to, not where it stands on the sweep's axes.
_OUTCOMES = ("status", "failed_at", "step_size", "task_index")


@dataclass
class Node:
    """One group of the store; what is read whole is read once.

    Attributes:
        name: Name of the group.
        data: Its arrays, still on disk.
    """

    name: str
    data: xr.Dataset
    _read: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def whole(self, name: str) -> np.ndarray:
        """All of an array: for records that are small."""
        if name not in self._read:
            self._read[name] = self.data[name].values
        return self._read[name]


@dataclass(frozen=True)
class Cell:
    """Runs at one place of the sweep, one a seed.

    Attributes:
        place: Value of each axis other than the seed, by the name of its coordinate.
        node: The group that holds the runs.
        runs: Indices of the runs within their group, in the order of the plan.
    """

    place: dict[str, Any]
    node: Node
    runs: Int[np.ndarray, " runs"]

    @property
    def status(self) -> Int[np.ndarray, " runs"]:
        """Status of each run: 0 ok, above 0 failed, below 0 not computed yet."""
        return self.node.whole("status")[self.runs]

    @property
    def ok(self) -> Int[np.ndarray, " ok"]:
        """Indices, within the group, of the runs that came through."""
        return self.runs[self.status == 0]

    @property
    def n_failed(self) -> int:
        """Runs that became infinite, diverged or met a limit."""
        return int(np.sum(self.status > 0))

    @property
    def n_missing(self) -> int:
        """Runs that are not computed yet."""
        return int(np.sum(self.status < 0))

    @property
    def n_runs(self) -> int:
        """Runs that are there, failed ones among them."""
        return len(self.runs) - self.n_missing

    @property
    def steps(self) -> Int[np.ndarray, " times"]:
        """The saved steps."""
        return self.node.whole("step")

    def has(self, name: str) -> bool:
        """Whether there is such an array, and a run that came through."""
        return name in self.node.data.variables and len(self.ok) > 0

    def read(self, name: str) -> Num[np.ndarray, "ok *rest"]:
        """A small array, for the runs that came through."""
        return self.node.whole(name)[self.ok]

    def along(self, axis: str) -> list[Any]:
        """What stands along an axis of the records: its labels, or 1, 2, ... where it has none."""
        if axis in self.node.data.coords:
            return [str(label) for label in self.node.whole(axis)]
        return list(range(1, self.node.data.sizes[axis] + 1))

    def ends(self, name: str) -> Num[np.ndarray, "2 *rest"]:
        """A large array of the first run that came through, at both ends of its saved steps."""
        one = self.node.data[name].isel(run=int(self.ok[0]), step=[0, -1])
        return np.moveaxis(one.values, -1, 0)

    @property
    def seeds(self) -> Int[np.ndarray, " ok"]:
        """Seeds of the runs that came through."""
        return self.node.whole("seed")[self.ok]

    @property
    def first_seed(self) -> int:
        """Seed of the first run that came through."""
        return int(self.seeds[0])


def is_replicate(name: str) -> bool:
    """Whether an axis only repeats an experiment: the seed of the network, or that of the data."""
    return name.rsplit(".", 1)[-1] == "seed"


def manifest_of(tree: xr.DataTree) -> dict[str, Any]:
    """The manifest of a run folder; empty if the tree has none."""
    return {str(key): value for key, value in tree.attrs.items()}


def cells_of(tree: xr.DataTree) -> list[Cell]:
    """The cells of a run folder, in the order of the plan.

    Args:
        tree: What `gramdyn.store.open` returns.
    """
    return [cell for node in _nodes(tree) for cell in _cells_in(node)]


def _nodes(tree: xr.DataTree) -> list[Node]:
    planned = [group["name"] for group in manifest_of(tree).get("groups", [])]
    names = [name for name in planned if name in tree.children] or sorted(tree.children)
    return [Node(name, tree[name].to_dataset()) for name in names]


def _cells_in(node: Node) -> list[Cell]:
    names = _axis_names(node.data)
    columns = [node.whole(name).tolist() for name in names]
    members: dict[tuple[Any, ...], list[int]] = {}
    for run, values in enumerate(zip(*columns, strict=True)):
        members.setdefault(values, []).append(run)
    return [
        Cell(dict(zip(names, values, strict=True)), node, np.asarray(runs))
        for values, runs in members.items()
    ]


def _axis_names(data: xr.Dataset) -> list[str]:
    along_run = [str(name) for name, array in data.coords.items() if array.dims == ("run",)]
    return sorted(
        (name for name in along_run if name not in _OUTCOMES and not is_replicate(name)),
        key=lambda name: ({"width": 0, "depth": 1}.get(name, 2), name),
    )


def count_runs(cells: Sequence[Cell]) -> dict[str, int]:
    """Runs of all cells: `ok`, `failed` and `missing`."""
    return {
        "ok": sum(len(cell.ok) for cell in cells),
        "failed": sum(cell.n_failed for cell in cells),
        "missing": sum(cell.n_missing for cell in cells),
    }
