"""Critical points whose kind, inertia and escape are known: diagonal networks, sigma = 3, 2, 1.

A table for claims and tests, which compute every number in it anew; nothing else uses it, and its
functions check no input.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gramdyn.deep_linear._products import Weights

SIGMA = (3.0, 2.0, 1.0)
STRICT, FLAT, BEST = "strict_saddle", "nonstrict_saddle", "global_min"
Entry = tuple[int, int, int, float]  # layer, row, column, counted from 1, and value


class Known(NamedTuple):
    """One critical point of the target diag(3, 2, 1) and what is known of it.

    Attributes:
        label: What it is called.
        widths: d_0, ..., d_L.
        chosen: Learned modes, numbered from 0.
        extra: Entries beside those of the canonical point.
        level: Loss.
        kind: As `classify` says it.
        least: Smallest eigenvalue of the Hessian.
        inertia: Numbers of negative, positive and zero eigenvalues.
        order: Order m of escape, None at a minimum.
        coefficient: c = -min(change of loss) / radius^m over small balls, None at a minimum.
    """

    label: str
    widths: tuple[int, ...]
    chosen: tuple[int, ...]
    extra: tuple[Entry, ...]
    level: float
    kind: str
    least: float
    inertia: tuple[int, int, int]
    order: int | None
    coefficient: float | None

    @property
    def weights(self) -> Weights:
        """W_1, ..., W_L."""
        return diagonal_weights(SIGMA, self.widths, self.chosen, self.extra)


def diagonal_weights(
    sigma: Sequence[float],
    widths: Sequence[int],
    chosen: Sequence[int],
    extra: Sequence[Entry] = (),
) -> Weights:
    """Canonical weights of a diagonal target, further entries set.

    Args:
        sigma: Singular values of the target, on its diagonal.
        widths: d_0, ..., d_L.
        chosen: Learned modes, numbered from 0; the k-th of them runs through neuron k.
        extra: Entries (layer, row, column, value), counted from 1.

    Returns:
        W_1, ..., W_L.
    """
    n_layers = len(widths) - 1
    weights = [np.zeros((up, low)) for low, up in pairwise(widths)]
    for k, mode in enumerate(chosen):
        for layer, weight in enumerate(weights):
            row = mode if layer == n_layers - 1 else k
            weight[row, mode if layer == 0 else k] = sigma[mode] ** (1 / n_layers)
    for layer, row, column, value in extra:
        weights[layer - 1][row - 1, column - 1] = value
    return tuple(weights)


def units(*layers: int) -> tuple[Entry, ...]:
    """Identity matrices of width 3 in these layers, as entries."""
    return tuple((layer, i, i, 1.0) for layer in layers for i in (1, 2, 3))


_W2, _W3, _W4 = (3,) * 3, (3,) * 4, (3,) * 5
_CROSSED = ((1, 1, 1, 1.0), (3, 2, 1, 1.0))
_BRIDGED = ((2, 2, 2, 1.0), (3, 2, 2, 1.0))


def _filled(
    layers: tuple[int, ...],
    n_layers: int,
    kind: str,
    least: float,
    inertia: tuple[int, int, int],
    order: int,
    coefficient: float,
) -> Known:
    """Nothing learned, but identity matrices in some layers."""
    label = f"L = {n_layers}, S = {{}}, " + " = ".join(f"W_{i}" for i in layers) + " = I"
    widths = (3,) * (n_layers + 1)
    return Known(label, widths, (), units(*layers), 7.0, kind, least, inertia, order, coefficient)


def _passing(
    extra: tuple[Entry, ...],
    n_layers: int,
    kind: str,
    least: float,
    inertia: tuple[int, int, int],
    order: int,
    coefficient: float,
) -> Known:
    """The strongest mode learned, and entries of 1 that pass another one through some layers."""
    passed = " = ".join(f"W_{layer}[{row},{column}]" for layer, row, column, _ in extra)
    label, widths = f"L = {n_layers}, S = {{1}}, {passed} = 1", (3,) * (n_layers + 1)
    return Known(label, widths, (0,), extra, 2.5, kind, least, inertia, order, coefficient)


# c = sigma_p L^(-L/2) at canonical saddles that lack the modes from p on; else found over balls.
TABLE = (
    Known("L = 2, S = {}", _W2, (), (), 7.0, STRICT, -3.0, (9, 9, 0), 2, 1.5),
    Known("L = 2, S = {1}", _W2, (0,), (), 2.5, STRICT, -2.0, (4, 9, 5), 2, 1.0),
    Known("L = 2, S = {1,2}", _W2, (0, 1), (), 0.5, STRICT, -1.0, (1, 9, 8), 2, 0.5),
    Known("L = 2, S = {2}", _W2, (1,), (), 5.0, STRICT, -3.0, (5, 8, 5), 2, 1.5),
    Known("L = 2, S = {1,2,3}", _W2, (0, 1, 2), (), 0.0, BEST, 0.0, (0, 9, 9), None, None),
    Known("3-1-3, S = {1}", (3, 1, 3), (0,), (), 2.5, BEST, 0.0, (0, 5, 1), None, None),
    Known("3-1-3, S = {2}", (3, 1, 3), (1,), (), 5.0, STRICT, -1.0, (1, 4, 1), 2, 0.5),
    Known("L = 3, S = {}", _W3, (), (), 7.0, FLAT, 0.0, (0, 0, 27), 3, 0.57735),
    Known("L = 3, S = {1}", _W3, (0,), (), 2.5, FLAT, 0.0, (0, 5, 22), 3, 0.38490),
    Known("L = 3, S = {1,2}", _W3, (0, 1), (), 0.5, FLAT, 0.0, (0, 8, 19), 3, 0.19245),
    Known("L = 3, S = {2}", _W3, (1,), (), 5.0, STRICT, -(2 ** (1 / 3)), (1, 4, 22), 2, 0.62996),
    *[_filled((i,), 3, STRICT, -3.0, (9, 9, 9), 2, 1.5) for i in (1, 2, 3)],
    Known(
        "L = 3, S = {}, W_1[1,1] = W_3[2,1] = 1",
        _W3,
        (),
        _CROSSED,
        7.0,
        STRICT,
        -3.140055,
        (5, 5, 17),
        2,
        1.57003,
    ),
    _passing(((2, 2, 2, 1.0),), 3, STRICT, -2.0, (2, 7, 18), 2, 1.0),
    _passing(((1, 3, 3, 1.0),), 3, STRICT, -1.0, (2, 7, 18), 2, 0.5),
    Known("3-3-2-3, S = {1,2}", (3, 3, 2, 3), (0, 1), (), 0.5, BEST, 0.0, (0, 8, 13), None, None),
    Known("L = 4, S = {}", _W4, (), (), 7.0, FLAT, 0.0, (0, 0, 36), 4, 0.1875),
    Known("L = 4, S = {1}", _W4, (0,), (), 2.5, FLAT, 0.0, (0, 5, 31), 4, 0.125),
    *[_filled((i,), 4, FLAT, 0.0, (0, 0, 36), 3, 0.57735) for i in (1, 2)],
    *[_filled(two, 4, STRICT, -3.0, (9, 9, 18), 2, 1.5) for two in ((2, 3), (1, 4))],
    *[_passing(((i, 2, 2, 1.0),), 4, FLAT, 0.0, (0, 5, 31), 3, 0.38490) for i in (1, 2)],
    _passing(_BRIDGED, 4, STRICT, -2.0, (2, 7, 27), 2, 1.0),
    Known("L = 4, S = {2}", _W4, (1,), (), 5.0, STRICT, -(2**0.5), (1, 4, 31), 2, 0.70711),
)
