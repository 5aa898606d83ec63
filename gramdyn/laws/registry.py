"""Laws by name: what a check gives, on how many samples it may run, where it stands.

A law holds for any weights and any training set, so it may be checked at any state of any run, and
on part of its samples. To add one, write a function `Moment -> Found` under `@law`; the modules
`field_checks`, `weight_checks` and `feature_checks` hold those there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.laws.moment import Moment
from gramdyn.models.layers import AbstractLayer
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
        excuse: Why it says nothing, for verdicts to tell; "" for a law that is then left out.
    """

    name: str
    check: Callable[[Moment], Found]
    needs: str
    tolerance: float
    reason: str
    source: str
    counts: str
    applies: Callable[[Network, AbstractScheme], bool]
    excuse: Callable[[Network, AbstractScheme], str]


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
    excuse: Callable[[Network, AbstractScheme], str] = lambda network, scheme: "",
) -> Callable[[Callable[[Moment], Found]], Callable[[Moment], Found]]:
    """Enter a check by name."""

    def enter(check: Callable[[Moment], Found]) -> Callable[[Moment], Found]:
        told = (needs, tolerance, reason, source, counts)
        LAWS[name] = Law(name, check, *told, applies, excuse)
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
        fan_in: Most numbers that enter a neuron.
        copied: Trained numbers of which a kernel may hold one copy a sample and output: those of
            layers whose kernel is no product of two Grams.
    """

    samples: int
    outputs: int
    layers: int
    width: int
    weights: int
    fan_in: int = 1
    copied: int = 0

    @classmethod
    def of(cls, system: NetworkSystem) -> "Sizes":
        """The sizes of a system in weight coordinates."""
        n, n_outputs = system.targets.shape
        layers = system.start.layers
        traces = jax.eval_shape(system.start.traces, system.inputs)
        shapes = [(trace.pre.shape[1], trace.inputs.shape[1]) for trace in traces]
        width, fan_in = (max(sides) for sides in zip(*shapes, strict=True))
        trained = zip(layers, system.initial_state().layers, strict=True)
        counts = [(layer.factorised, _n_numbers(state)) for layer, state in trained]
        weights = sum(count for _, count in counts)
        copied = sum(count for factorised, count in counts if not factorised)
        return cls(n, n_outputs, len(layers), width, weights, fan_in, copied)


def _n_numbers(state: AbstractLayer) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(state))


# Numbers a check may hold at once: 0.8 GB.
BUDGET = 10**8
# Rows of a matrix that is diagonalised, since the cost is their cube.
MOST_ROWS = 512

# What a check on n samples holds, and whether that is allowed.
NEEDS: dict[str, Callable[[Sizes, int], bool]] = {
    "fields": lambda size, n: n * size.outputs * (n + size.layers * size.width) <= BUDGET,
    "kernels": lambda size, n: (
        (2 * size.layers + 1) * (n * size.outputs) ** 2 + n * size.outputs * size.copied <= BUDGET
    ),
    "jacobian": lambda size, n: n * size.outputs * (size.weights + n * size.outputs) <= BUDGET,
    "grams": lambda size, n: (
        8 * size.fan_in**2 + 8 * n * size.layers * max(size.width, size.fan_in) <= BUDGET
    ),
    "operators": lambda size, n: 8 * size.width**2 + n * size.outputs * size.width <= BUDGET,
    "spectra": lambda size, n: (
        n * size.outputs <= MOST_ROWS and n * size.outputs * size.copied <= BUDGET
    ),
}


def samples_for(law: Law, size: Sizes) -> int:
    """How many samples the law is checked on: all, or as many as its need allows; 0 for none."""
    fits = NEEDS[law.needs]
    return next((n for n in range(size.samples, 0, -1) if fits(size, n)), 0)
