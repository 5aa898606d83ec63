"""Random critical points of deep linear networks, with unlearned weights of every pattern.

They are for claims and tests, which hold the rank rules against computed Hessians at such points;
nothing else uses them. To sample starts of training, see `gramdyn.models`.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import check, check_known, check_positive_int
from gramdyn.deep_linear._products import Weights

# Singular values of each family of targets.
FAMILIES = {"generic": (3.0, 2.0, 1.0), "tied": (2.0, 2.0, 1.0), "deficient": (2.0, 1.0, 0.0)}


@dataclass(frozen=True)
class SamplePoint:
    """A critical point, its target, and which modes it learned."""

    weights: Weights
    target: Float[np.ndarray, "dL d0"]
    chosen: tuple[int, ...]


class Strand(NamedTuple):
    """A path through consecutive layers that carries something unlearned.

    Attributes:
        first: Node where it begins.
        last: Node where it ends.
        source: What it takes from the inputs, for first = 0.
        sink: What it gives to the outputs, for last = L.
    """

    first: int
    last: int
    source: Float[np.ndarray, " _"] | None
    sink: Float[np.ndarray, " _"] | None


def random_critical_point(
    rng: np.random.Generator, family: str, n_layers: int, *, top: bool = False
) -> SamplePoint:
    """A random critical point, in random coordinates of every node.

    Besides the learned modes it holds strands, each of which passes one unlearned vector through
    some consecutive layers. A strand from the inputs with vector p and one to the outputs with
    vector q may share a layer, or end and start beside each other, only if q^T R p = 0; the bare
    inputs and outputs count as strands of no length. None passes all layers.

    Args:
        rng: Random numbers.
        family: "generic", "tied" or "deficient": singular values of the target.
        n_layers: L, at least 2.
        top: Whether the learned modes are those of the largest singular values, and not all.

    Returns:
        Weights of width 1 and more, target and learned modes.

    Raises:
        InputError: for a family that is not known, or one layer.

    Cost: some products of small matrices.
    Source: derived here, tested.
    """
    sigma = np.array(FAMILIES[check_known("family", family, FAMILIES)])
    check(check_positive_int("n_layers", n_layers) >= 2, "n_layers", "be at least 2", n_layers)
    present = np.flatnonzero(sigma)
    rank = int(rng.integers(0, len(present) + (0 if top else 1)))
    chosen = np.arange(rank) if top else np.sort(rng.choice(present, rank, replace=False))
    rest = np.setdiff1d(np.arange(len(sigma)), chosen)
    extra = rng.integers(0, 2, size=2)  # inputs and outputs that the target does not use
    strands = _strands(rng, sigma[rest], extra, n_layers)
    weights, target = _assemble(rng, sigma, (chosen, rest), extra, strands, n_layers)
    return SamplePoint(*_turned(rng, weights, target), tuple(int(i) for i in chosen))


def _strands(
    rng: np.random.Generator,
    sigma: Float[np.ndarray, " _"],
    extra: Int[np.ndarray, "2"],
    n_layers: int,
) -> list[Strand]:
    """Strands from the inputs, to the outputs, and within."""
    residual = np.zeros((len(sigma) + extra[1], len(sigma) + extra[0]))
    residual[: len(sigma), : len(sigma)] = np.diag(sigma)
    few = rng.random() < 0.5  # many strands make nearly every saddle strict
    found = _from_inputs(rng, residual, n_layers, few)
    found += _to_outputs(rng, residual, n_layers, few, found)
    for _ in range(int(rng.integers(0, 2 if few else 3))):
        first = int(rng.integers(1, n_layers))
        found.append(Strand(first, int(rng.integers(first, n_layers)), None, None))
    return found


def _from_inputs(
    rng: np.random.Generator, residual: Float[np.ndarray, "q p"], n_layers: int, few: bool
) -> list[Strand]:
    columns = residual.shape[1]
    found = []
    for vector in _frame(rng, columns, int(rng.integers(0, (1 if few else columns) + 1))):
        passed = np.linalg.norm(residual @ vector) > 1e-12  # then W_{L-1:1} must forget it
        last = min(int(rng.integers(1, n_layers)), n_layers - (2 if passed else 1))
        if last >= 1:
            found.append(Strand(0, last, vector, None))
    return found


def _to_outputs(
    rng: np.random.Generator,
    residual: Float[np.ndarray, "q p"],
    n_layers: int,
    few: bool,
    below: list[Strand],
) -> list[Strand]:
    """Strands to the outputs that meet none of those below."""
    rows = residual.shape[0]
    taken, found = np.zeros((0, rows)), []
    for _ in range(int(rng.integers(0, (1 if few else rows) + 1))):
        start = int(rng.integers(1, n_layers))
        met = [residual @ one.source for one in below if one.last >= start - 1]
        met += [residual.T] if start == 1 else []  # every input reaches node 0
        vector = _perpendicular(rng, np.vstack([taken, *met]), rows)
        if vector is not None:
            taken = np.vstack([taken, vector])
            found.append(Strand(start, n_layers, None, vector))
    return found


def _frame(rng: np.random.Generator, size: int, count: int) -> list[Float[np.ndarray, " _"]]:
    """Orthonormal vectors: unit vectors half of the time, random ones otherwise."""
    basis = np.eye(size) if rng.random() < 0.5 else _turn(rng, size)
    return list(basis[rng.permutation(size)[:count]])


def _perpendicular(
    rng: np.random.Generator, rows: Float[np.ndarray, "_ q"], size: int
) -> Float[np.ndarray, " q"] | None:
    """A vector perpendicular to the rows, sparse half of the time; None if there is none."""
    rank = int(np.linalg.matrix_rank(rows)) if len(rows) else 0
    if rank == size:
        return None
    free = np.linalg.svd(rows)[2][rank:] if len(rows) else np.eye(size)
    if rng.random() < 0.5:
        return np.asarray(free[rng.integers(len(free))])
    vector = rng.normal(size=len(free)) @ free
    return np.asarray(vector / np.linalg.norm(vector))


def _assemble(
    rng: np.random.Generator,
    sigma: Float[np.ndarray, " k"],
    modes: tuple[Int[np.ndarray, " r"], Int[np.ndarray, " _"]],
    extra: Int[np.ndarray, "2"],
    strands: list[Strand],
    n_layers: int,
) -> tuple[list[np.ndarray], Float[np.ndarray, "dL d0"]]:
    """Weights in coordinates of strands: learned modes first at every hidden node."""
    (chosen, rest), ends = modes, len(sigma) + extra
    slots = _slots(strands, n_layers)
    spare = rng.integers(0, 2, size=n_layers + 1)
    hidden = [max(1, len(chosen) + len(slots[n]) + int(spare[n])) for n in range(1, n_layers)]
    widths = [int(ends[0]), *hidden, int(ends[1])]
    free = [np.r_[rest, np.arange(len(sigma), size)] for size in ends]
    weights = _learned(sigma, chosen, widths)
    for layer, weight in enumerate(weights):
        for index, strand in enumerate(strands):
            if strand.first <= layer < strand.last:
                right, left = np.zeros(widths[layer]), np.zeros(widths[layer + 1])
                _place(right, strand.source, free[0], slots[layer], index, len(chosen))
                _place(left, strand.sink, free[1], slots[layer + 1], index, len(chosen))
                weight += rng.uniform(0.5, 1.5) * np.outer(left, right)
    target = np.zeros((widths[-1], widths[0]))
    target[: len(sigma), : len(sigma)] = np.diag(sigma)
    return weights, target


def _slots(strands: list[Strand], n_layers: int) -> list[list[int]]:
    """Which strands pass each hidden node, in order; none at inputs and outputs."""
    slots: list[list[int]] = [[] for _ in range(n_layers + 1)]
    for index, strand in enumerate(strands):
        for node in range(max(strand.first, 1), min(strand.last, n_layers - 1) + 1):
            slots[node].append(index)
    return slots


def _learned(
    sigma: Float[np.ndarray, " k"], chosen: Int[np.ndarray, " r"], widths: list[int]
) -> list[np.ndarray]:
    """Balanced weights of the chosen modes, the k-th of them through neuron k."""
    n_layers = len(widths) - 1
    weights = [np.zeros((up, low)) for low, up in pairwise(widths)]
    for layer, weight in enumerate(weights):
        rows = chosen if layer == n_layers - 1 else np.arange(len(chosen))
        columns = chosen if layer == 0 else np.arange(len(chosen))
        weight[rows, columns] = sigma[chosen] ** (1 / n_layers)
    return weights


def _place(
    vector: np.ndarray,
    end: Float[np.ndarray, " _"] | None,
    free: Int[np.ndarray, " _"],
    slots: list[int],
    index: int,
    n_learned: int,
) -> None:
    """Write where a strand meets a node: its neuron, or its own vector at inputs and outputs."""
    if index in slots:
        vector[n_learned + slots.index(index)] = 1.0
    else:
        vector[free] = end


def _turn(rng: np.random.Generator, size: int) -> Float[np.ndarray, "d d"]:
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def _turned(
    rng: np.random.Generator, weights: list[np.ndarray], target: Float[np.ndarray, "dL d0"]
) -> tuple[Weights, Float[np.ndarray, "dL d0"]]:
    """Random invertible coordinates of every hidden node, random rotations of both ends."""
    widths = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
    turns = [_turn(rng, size) for size in widths]
    stretch = [np.exp(rng.uniform(-0.5, 0.5, size=size)) for size in widths]
    stretch[0], stretch[-1] = np.ones(widths[0]), np.ones(widths[-1])
    frames = [turn * size for turn, size in zip(turns, stretch, strict=True)]
    moved = tuple(
        frames[i + 1] @ weight @ np.linalg.inv(frames[i]) for i, weight in enumerate(weights)
    )
    return moved, frames[-1] @ target @ np.linalg.inv(frames[0])
