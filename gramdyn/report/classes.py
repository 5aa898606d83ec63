"""Samples in the order of their classes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int, Num, Shaped

from gramdyn.report.cells import Cell

# Samples drawn along each side of a heat map; more are thinned evenly after sorting.
MAX_SAMPLES = 128


@dataclass(frozen=True)
class Classes:
    """An order of samples and where it changes class.

    Attributes:
        order: Indices of the samples drawn, sorted by class.
        names: Name of each class that occurs, in order; empty where classes are not known.
        edges: First position of each class but the first.
    """

    order: Int[np.ndarray, " drawn"]
    names: tuple[str, ...]
    edges: tuple[int, ...]

    @property
    def centres(self) -> list[float]:
        """Position of the middle of each class."""
        bounds = [0, *self.edges, len(self.order)]
        return [(low + high - 1) / 2 for low, high in pairwise(bounds)]

    def sort(self, matrix: Num[np.ndarray, "*axes n n"]) -> Num[np.ndarray, "*axes drawn drawn"]:
        """Rows and columns in this order."""
        return matrix[..., self.order[:, None], self.order[None, :]]


def classes_of(cell: Cell, manifest: dict[str, Any]) -> Classes:
    """The order for the first run of a cell: by label, or by target where there is no label."""
    run = int(cell.ok[0])
    task = int(cell.node.whole("task_index")[run])
    if "label" in cell.node.data.variables:
        labels = cell.node.whole("label")[task]
        return sort_by(labels, _class_names(cell, task, manifest))
    targets = cell.node.whole("targets")[task]
    if targets.shape[-1] > 1:
        return sort_by(np.argmax(targets, axis=-1), None)
    values = targets[:, 0]
    few = len(np.unique(values)) <= 10
    return sort_by(values, None) if few else Classes(_thin(np.argsort(values)), (), ())


def sort_by(labels: Shaped[np.ndarray, " n"], names: list[str] | None) -> Classes:
    """Samples sorted by label, those of one class in the order they came.

    Args:
        labels: Class of each sample, shape (n,).
        names: Name of class 0, 1, ...; without them the labels themselves.
    """
    order = _thin(np.argsort(labels, kind="stable"))
    found, edges = np.unique(labels[order], return_index=True)
    told = tuple(names[int(k)] if names else f"{k:g}" for k in found)
    return Classes(order, told, tuple(int(edge) for edge in edges[1:]))


def _thin(order: Int[np.ndarray, " n"]) -> Int[np.ndarray, " drawn"]:
    if len(order) <= MAX_SAMPLES:
        return order
    return order[np.linspace(0, len(order) - 1, MAX_SAMPLES).round().astype(int)]


def _class_names(cell: Cell, task: int, manifest: dict[str, Any]) -> list[str] | None:
    """Names from the task's own notes, such as the digits chosen; None if it has none."""
    groups = {group["name"]: group for group in manifest.get("groups", [])}
    tasks = groups.get(cell.node.name, {}).get("tasks", [])
    told = tasks[task].get("classes") if task < len(tasks) else None
    names = str(told).split(", ") if told else []
    count = int(cell.node.whole("label")[task].max()) + 1
    return names if len(names) == count else None
