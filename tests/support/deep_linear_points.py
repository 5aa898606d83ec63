"""Second ways for deep linear networks: critical points made strand by strand, dense Hessians."""

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np

LEARNED = {"generic": (3.0, 2.0, 1.0), "tied": (2.0, 2.0, 1.0), "deficient": (2.0, 1.0, 0.0)}


@dataclass(frozen=True)
class Point:
    """A critical point, its target, and which modes it learned."""

    weights: tuple[np.ndarray, ...]
    target: np.ndarray
    chosen: tuple[int, ...]


def chain(matrices, size):
    """The product of the matrices from the last to the first; the identity of none."""
    return reduce(lambda right, left: left @ right, matrices, np.eye(size))


def canonical(sigma, widths, chosen, extra=()):
    """Diagonal canonical weights, with entries (layer, row, column, value) counted from 1."""
    n_layers = len(widths) - 1
    weights = [np.zeros((up, low)) for low, up in pairwise(widths)]
    for k, mode in enumerate(chosen):
        for layer, weight in enumerate(weights):
            row = mode if layer == n_layers - 1 else k
            weight[row, mode if layer == 0 else k] = sigma[mode] ** (1 / n_layers)
    for layer, row, column, value in extra:
        weights[layer - 1][row - 1, column - 1] = value
    return tuple(weights)


SIGMA = (3.0, 2.0, 1.0)


def units(*layers):
    """Identity matrices of width 3 in these layers, for `canonical`."""
    return [(layer, i, i, 1.0) for layer in layers for i in (1, 2, 3)]


STRICT, FLAT, BEST = "strict_saddle", "nonstrict_saddle", "global_min"
# Widths, learned modes from 0, entries added, level, kind, least eigenvalue, inertia, order m, and
# c = -min(change of loss) / radius^m over small balls.
TABLE = [
    ((3,) * 3, (), [], 7, STRICT, -3, (9, 9, 0), 2, 1.5),
    ((3,) * 3, (0,), [], 2.5, STRICT, -2, (4, 9, 5), 2, 1.0),
    ((3,) * 3, (0, 1), [], 0.5, STRICT, -1, (1, 9, 8), 2, 0.5),
    ((3,) * 3, (1,), [], 5, STRICT, -3, (5, 8, 5), 2, 1.5),
    ((3,) * 3, (0, 1, 2), [], 0, BEST, 0, (0, 9, 9), None, None),
    ((3, 1, 3), (0,), [], 2.5, BEST, 0, (0, 5, 1), None, None),
    ((3, 1, 3), (1,), [], 5, STRICT, -1, (1, 4, 1), 2, 0.5),
    ((3,) * 4, (), [], 7, FLAT, 0, (0, 0, 27), 3, 0.57735),
    ((3,) * 4, (0,), [], 2.5, FLAT, 0, (0, 5, 22), 3, 0.38490),
    ((3,) * 4, (0, 1), [], 0.5, FLAT, 0, (0, 8, 19), 3, 0.19245),
    ((3,) * 4, (1,), [], 5, STRICT, -(2 ** (1 / 3)), (1, 4, 22), 2, 0.62996),
    *[((3,) * 4, (), units(layer), 7, STRICT, -3, (9, 9, 9), 2, 1.5) for layer in (1, 2, 3)],
    ((3,) * 4, (), [(1, 1, 1, 1.0), (3, 2, 1, 1.0)], 7, STRICT, -3.140055, (5, 5, 17), 2, 1.57003),
    ((3,) * 4, (0,), [(2, 2, 2, 1.0)], 2.5, STRICT, -2, (2, 7, 18), 2, 1.0),
    ((3,) * 4, (0,), [(1, 3, 3, 1.0)], 2.5, STRICT, -1, (2, 7, 18), 2, 0.5),
    ((3, 3, 2, 3), (0, 1), [], 0.5, BEST, 0, (0, 8, 13), None, None),
    ((3,) * 5, (), [], 7, FLAT, 0, (0, 0, 36), 4, 0.1875),
    ((3,) * 5, (0,), [], 2.5, FLAT, 0, (0, 5, 31), 4, 0.125),
    *[((3,) * 5, (), units(layer), 7, FLAT, 0, (0, 0, 36), 3, 0.57735) for layer in (1, 2)],
    *[((3,) * 5, (), units(*two), 7, STRICT, -3, (9, 9, 18), 2, 1.5) for two in ((2, 3), (1, 4))],
    *[((3,) * 5, (0,), [(at, 2, 2, 1.0)], 2.5, FLAT, 0, (0, 5, 31), 3, 0.38490) for at in (1, 2)],
    ((3,) * 5, (0,), [(2, 2, 2, 1.0), (3, 2, 2, 1.0)], 2.5, STRICT, -2, (2, 7, 27), 2, 1.0),
    ((3,) * 5, (1,), [], 5, STRICT, -(2**0.5), (1, 4, 31), 2, 0.70711),
]


def hessian(weights, target):
    """The dense Hessian, entries ordered layer by layer in rows, by products alone."""
    n_layers = len(weights)
    residual = target - chain(weights, weights[0].shape[1])
    below = [chain(weights[:i], weights[0].shape[1]) for i in range(n_layers)]
    above = [chain(weights[i + 1 :], weights[i].shape[0]) for i in range(n_layers)]
    jacobian = np.hstack([np.kron(a, b.T) for a, b in zip(above, below, strict=True)])
    found = jacobian.T @ jacobian
    ends = np.cumsum([0] + [weight.size for weight in weights])
    for j in range(n_layers):
        for i in range(j + 1, n_layers):
            outer = below[j] @ residual.T @ above[i]
            inner = chain(weights[j + 1 : i], weights[j].shape[0])
            block = -np.einsum("ab,cd->bcda", outer, inner).reshape(weights[i].size, -1)
            found[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] += block
            found[ends[j] : ends[j + 1], ends[i] : ends[i + 1]] += block.T
    return found


def random_point(rng, family, n_layers, *, top=False):
    """A random critical point, in random coordinates of every node.

    Besides the learned modes it holds strands, each of which passes one unlearned vector through
    some consecutive layers. A strand from the inputs with vector p and one to the outputs with
    vector q may share a layer, or end and start beside each other, only if q^T R p = 0; the bare
    inputs and outputs count as strands of no length. None passes all layers.
    """
    sigma = np.array(LEARNED[family])
    present = np.flatnonzero(sigma)
    rank = int(rng.integers(0, len(present) + (0 if top else 1)))
    chosen = np.arange(rank) if top else np.sort(rng.choice(present, rank, replace=False))
    rest = np.setdiff1d(np.arange(len(sigma)), chosen)
    extra = rng.integers(0, 2, size=2)  # inputs and outputs that the target does not use
    strands = _strands(rng, sigma[rest], extra, n_layers)
    weights, target = _assemble(rng, sigma, chosen, rest, extra, strands, n_layers)
    return Point(*_turned(rng, weights, target), tuple(int(i) for i in chosen))


def _strands(rng, sigma, extra, n_layers):
    """Strands (first node, last node, input vector or None, output vector or None)."""
    residual = np.zeros((len(sigma) + extra[1], len(sigma) + extra[0]))
    residual[: len(sigma), : len(sigma)] = np.diag(sigma)
    rows, columns = residual.shape
    few = rng.random() < 0.5  # many strands make nearly every saddle strict
    sources = _frame(rng, columns, int(rng.integers(0, (1 if few else columns) + 1)))
    found = []
    for vector in sources:
        passed = np.linalg.norm(residual @ vector) > 1e-12  # then W_{L-1:1} must forget it
        last = min(int(rng.integers(1, n_layers)), n_layers - (2 if passed else 1))
        if last >= 1:
            found.append((0, last, vector, None))
    taken = np.zeros((0, rows))
    for _ in range(int(rng.integers(0, (1 if few else rows) + 1))):
        start = int(rng.integers(1, n_layers))
        met = [residual @ p for first, last, p, _ in found if first == 0 and last >= start - 1]
        met += [residual.T] if start == 1 else []  # every input reaches node 0
        vector = _perpendicular(rng, np.vstack([taken, *met]) if met else taken, rows)
        if vector is not None:
            taken = np.vstack([taken, vector])
            found.append((start, n_layers, None, vector))
    for _ in range(int(rng.integers(0, 2 if few else 3))):
        first = int(rng.integers(1, n_layers))
        found.append((first, int(rng.integers(first, n_layers)), None, None))
    return found


def _frame(rng, size, count):
    """Orthonormal vectors: unit vectors half of the time, random ones otherwise."""
    basis = np.eye(size) if rng.random() < 0.5 else np.linalg.qr(rng.normal(size=(size, size)))[0]
    return list(basis[rng.permutation(size)[:count]])


def _perpendicular(rng, rows, size):
    """A vector perpendicular to the rows, sparse half of the time; None if there is none."""
    if np.linalg.matrix_rank(rows) == size:
        return None
    free = np.linalg.svd(rows)[2][np.linalg.matrix_rank(rows) :] if len(rows) else np.eye(size)
    if rng.random() < 0.5:
        return free[rng.integers(len(free))]
    vector = rng.normal(size=len(free)) @ free
    return vector / np.linalg.norm(vector)


def _assemble(rng, sigma, chosen, rest, extra, strands, n_layers):
    """Weights in coordinates of strands: learned modes first at every node."""
    ends = len(sigma) + extra
    slots = [[] for _ in range(n_layers + 1)]
    for index, (first, last, _, _) in enumerate(strands):
        for node in range(max(first, 1), min(last, n_layers - 1) + 1):
            slots[node].append(index)
    spare = rng.integers(0, 2, size=n_layers + 1)
    hidden = [max(1, len(chosen) + len(slots[n]) + int(spare[n])) for n in range(1, n_layers)]
    widths = [int(ends[0]), *hidden, int(ends[1])]
    weights = [np.zeros((up, low)) for low, up in pairwise(widths)]
    at = [np.r_[rest, np.arange(len(sigma), size)] for size in ends]
    for layer, weight in enumerate(weights):
        for k, mode in enumerate(chosen):
            row = mode if layer == n_layers - 1 else k
            weight[row, mode if layer == 0 else k] = sigma[mode] ** (1 / n_layers)
        for index, (first, last, source, sink) in enumerate(strands):
            if first <= layer < last:
                right = np.zeros(widths[layer])
                left = np.zeros(widths[layer + 1])
                if layer == 0:
                    right[at[0]] = source
                else:
                    right[len(chosen) + slots[layer].index(index)] = 1.0
                if layer == n_layers - 1:
                    left[at[1]] = sink
                else:
                    left[len(chosen) + slots[layer + 1].index(index)] = 1.0
                weight += rng.uniform(0.5, 1.5) * np.outer(left, right)
    target = np.zeros((widths[-1], widths[0]))
    target[: len(sigma), : len(sigma)] = np.diag(sigma)
    return weights, target


def _turned(rng, weights, target):
    """Random invertible coordinates of every hidden node, random rotations of both ends."""
    widths = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
    turns = [np.linalg.qr(rng.normal(size=(size, size)))[0] for size in widths]
    stretch = [np.exp(rng.uniform(-0.5, 0.5, size=size)) for size in widths]
    stretch[0], stretch[-1] = np.ones(widths[0]), np.ones(widths[-1])
    frames = [turn * size for turn, size in zip(turns, stretch, strict=True)]
    moved = tuple(
        frames[i + 1] @ weight @ np.linalg.inv(frames[i]) for i, weight in enumerate(weights)
    )
    return moved, frames[-1] @ target @ np.linalg.inv(frames[0])
