"""Claims by name: what a paper says, the sweeps that show it, predicted beside measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Row:
    """One number of a claim.

    Attributes:
        what: What is measured, and where.
        predicted: What the claim says it is.
        measured: What came out.
        holds: Whether it does; None where the row is told for information.
    """

    what: str
    predicted: str
    measured: str
    holds: bool | None


Compare = Callable[[Sequence[xr.DataTree]], list[Row]]
Draw = Callable[[Sequence[xr.DataTree]], Figure]
Measure = Callable[[], xr.DataTree]


@dataclass(frozen=True)
class Claim:
    """A published claim and how it is reproduced.

    Attributes:
        name: What the command line calls it.
        source: arXiv number of the paper, or "derived here".
        statement: The claim in one line.
        configs: Sweeps that show it, files of `configs/paper` without their ending.
        compare: From their results, in that order, to rows of predicted and measured.
        draw: From their results to the figure.
        records: Arrays that both read.
        closures: Closures they read, where `closure_error` is recorded.
        measure: What is computed without a sweep (points of a landscape, say), None for nothing;
            its results come after those of the sweeps.
    """

    name: str
    source: str
    statement: str
    configs: tuple[str, ...]
    compare: Compare
    draw: Draw
    records: tuple[str, ...] = ()
    closures: tuple[str, ...] = ()
    measure: Measure | None = None

    @property
    def told_source(self) -> str:
        """The source as a reader is told it."""
        return f"arXiv {self.source}" if self.source[0].isdigit() else self.source


CLAIMS: dict[str, Claim] = {}


def claim(
    name: str,
    *,
    source: str,
    statement: str,
    configs: Sequence[str] = (),
    draw: Draw,
    records: Sequence[str] = (),
    closures: Sequence[str] = (),
    measure: Measure | None = None,
) -> Callable[[Compare], Compare]:
    """Enter a comparison as a claim; see `Claim`."""

    def enter(compare: Compare) -> Compare:
        needs = tuple(records), tuple(closures), measure
        CLAIMS[name] = Claim(name, source, statement, tuple(configs), compare, draw, *needs)
        return compare

    return enter
