"""Laws by name: what a check gives, on how many samples it may run, where it stands.

A law holds for any weights and any training set, so it may be checked at any state of any run, and
on part of its samples. To add one, write a function `Moment -> Found` under `@law`; the modules
`field_checks` and `weight_checks` hold those there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.laws.moment import Moment
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems import NetworkSystem

PAPER = "arXiv 2606.09744"

# Sums of up to some thousand products in float64 agree to about 1e-14 of the size of their terms;
# any mistake in a law is many orders above.
ROUNDING = 1e-12


class Found(NamedTuple):
    """What a check gives.

    Attributes:
        error: Relative error, shape ().
        seen: How many there were of what the law counts beside it, shape ().
    """

    error: Float[Array, ""]
    seen: Int[Array, ""] | int = 0


@dataclass(frozen=True)
class Law:
    """One law and how it is checked.

    Attributes:
        name: What tables call it.
        check: From a moment to the relative error.
        needs: What a check holds at once, a key of `NEEDS`.
        tolerance: Largest error of a law that holds.
        reason: Why the tolerance is what it is.
        source: Where the law stands.
        counts: What the check counts beside the error, or "".
        applies: Whether the law says anything about a network trained by a scheme.
    """

    name: str
    check: Callable[[Moment], Found]
    needs: str
    tolerance: float
    reason: str
    source: str
    counts: str
    applies: Callable[[Network, AbstractScheme], bool]


LAWS: dict[str, Law] = {}


def law(
    name: str,
    *,
    needs: str = "fields",
    tolerance: float = ROUNDING,
    reason: str = "rounding of sums in float64",
    source: str = PAPER,
    counts: str = "",
    applies: Callable[[Network, AbstractScheme], bool] = lambda network, scheme: True,
) -> Callable[[Callable[[Moment], Found]], Callable[[Moment], Found]]:
    """Enter a check by name."""

    def enter(check: Callable[[Moment], Found]) -> Callable[[Moment], Found]:
        LAWS[name] = Law(name, check, needs, tolerance, reason, source, counts, applies)
        return check

    return enter


@dataclass(frozen=True)
class Sizes:
    """Counts that decide on how many samples a law can be checked.

    Attributes:
        samples: Training samples n.
        outputs: Outputs C.
        layers: Layers, the readout among them.
        width: Neurons of the widest layer.
        weights: Trained numbers.
    """

    samples: int
    outputs: int
    layers: int
    width: int
    weights: int

    @classmethod
    def of(cls, system: NetworkSystem) -> "Sizes":
        """The sizes of a system in weight coordinates."""
        n, n_outputs = system.targets.shape
        layers = system.start.layers
        width = max(layer.weight.shape[0] for layer in layers if isinstance(layer, Dense))
        leaves = jax.tree.leaves(system.initial_state())
        return cls(n, n_outputs, len(layers), width, sum(leaf.size for leaf in leaves))


# Numbers a check may hold at once: 0.8 GB.
BUDGET = 10**8
# Rows of a matrix that is diagonalised, since the cost is their cube.
MOST_ROWS = 512

# What a check on n samples holds, and whether that is allowed.
NEEDS: dict[str, Callable[[Sizes, int], bool]] = {
    "fields": lambda size, n: n * size.outputs * (n + size.layers * size.width) <= BUDGET,
    "kernels": lambda size, n: (2 * size.layers + 1) * (n * size.outputs) ** 2 <= BUDGET,
    "jacobian": lambda size, n: n * size.outputs * (size.weights + n * size.outputs) <= BUDGET,
    "operators": lambda size, n: 8 * size.width**2 + n * size.outputs * size.width <= BUDGET,
    "spectra": lambda size, n: n * size.outputs <= MOST_ROWS,
}


def samples_for(law: Law, size: Sizes) -> int:
    """How many samples the law is checked on: all, or as many as its need allows; 0 for none."""
    fits = NEEDS[law.needs]
    return next((n for n in range(size.samples, 0, -1) if fits(size, n)), 0)
