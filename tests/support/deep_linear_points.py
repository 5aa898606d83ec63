"""Second ways for deep linear networks, and the points that many tests look at."""

from functools import reduce

import numpy as np

from gramdyn.deep_linear import known, samples
from gramdyn.deep_linear.known import BEST, FLAT, SIGMA, STRICT, units
from gramdyn.deep_linear.known import diagonal_weights as canonical
from gramdyn.deep_linear.samples import SamplePoint as Point
from gramdyn.deep_linear.samples import random_critical_point as random_point

__all__ = [
    "BEST",
    "FLAT",
    "LEARNED",
    "SIGMA",
    "STRICT",
    "TABLE",
    "Point",
    "canonical",
    "chain",
    "hessian",
    "random_point",
    "units",
]

LEARNED = samples.FAMILIES
# Widths, learned modes from 0, entries added, level, kind, least eigenvalue, inertia, order m, and
# c = -min(change of loss) / radius^m over small balls.
TABLE = [(row.widths, row.chosen, list(row.extra), *row[4:]) for row in known.TABLE]


def chain(matrices, size):
    """The product of the matrices from the last to the first; the identity of none."""
    return reduce(lambda right, left: left @ right, matrices, np.eye(size))


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
