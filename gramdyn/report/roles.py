"""Which axis of a sweep becomes colour, which a panel, and what they are called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from gramdyn.report.cells import Cell

_RELATIVE = re.compile(r"relative: ([-+.\deE]+)")
# Axes whose name is not what a reader calls them.
_WORDS = {
    "hidden": "hidden layer",
    "n_inputs": "inputs d",
    "samples_per_input": "samples per input n/d",
}


@runtime_checkable
class Placed(Protocol):
    """What stands at a place of the sweep: a cell, or a curve."""

    @property
    def place(self) -> dict[str, Any]:
        """Value of each axis."""


AnyPlaced = TypeVar("AnyPlaced", bound=Placed)


@dataclass(frozen=True)
class Roles:
    """What the axes that vary are shown by.

    Attributes:
        colour: Axis shown by colour.
        facet: Axis with a panel a value.
        dash: Axes left over, shown by the dashes of a line.
        row: Axis with a row of panels a value; the facets are then the columns.
    """

    colour: str | None
    facet: str | None
    dash: tuple[str, ...] = ()
    row: str | None = None


def as_number(value: Any) -> float | None:
    """A value of an axis as a number, "relative: 0.5" as 0.5; None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    found = _RELATIVE.fullmatch(str(value))
    return float(found[1]) if found else None


def axis_values(cells: Sequence[Placed], name: str) -> list[Any]:
    """Distinct values of an axis: ascending if they are numbers, else as they first come."""
    values = list(dict.fromkeys(cell.place[name] for cell in cells if name in cell.place))
    numbers = [as_number(value) for value in values]
    if any(number is None for number in numbers):
        return values
    return [value for _, value in sorted(zip(numbers, values, strict=True))]


def varying(cells: Sequence[Placed]) -> list[str]:
    """Axes with at least two values."""
    names = dict.fromkeys(name for cell in cells for name in cell.place)
    return [name for name in names if len(axis_values(cells, name)) > 1]


def is_numeric(cells: Sequence[Placed], name: str) -> bool:
    """Whether every value of an axis is a number."""
    return all(as_number(value) is not None for value in axis_values(cells, name))


def choose_roles(cells: Sequence[Placed], colour: str | None = None) -> Roles:
    """Roles of the axes that vary.

    Colour is the numeric axis with the most values, the width first among equals; depth gets the
    panels if it varies and is not needed for the colour.

    Args:
        cells: The cells, or curves.
        colour: The axis shown by colour, where that is not to be chosen.
    """
    names = varying(cells)
    size = {name: len(axis_values(cells, name)) for name in names}
    others = [name for name in names if name != "depth"] or names
    numeric = [name for name in others if is_numeric(cells, name)] or others
    most = max(numeric, key=lambda name: (size[name], name == "width"), default=None)
    colour = most if colour is None else colour
    rest = [name for name in names if name != colour]
    facet = max(rest, key=lambda name: (name == "depth", size[name]), default=None)
    return Roles(colour, facet, tuple(name for name in rest if name != facet))


def axis_title(name: str) -> str:
    """An axis in words: its last part, spaces for underscores."""
    last = name.rsplit(".", 1)[-1]
    return _WORDS.get(last, last.replace("_", " "))


def value_title(value: Any) -> str:
    """A number to four figures, whole thousands in full; anything else as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("relative: ", "relative ")
    if 1e4 <= abs(value) < 1e7 or isinstance(value, int):
        return f"{value:.0f}"
    return f"{value:.4g}"


def place_title(place: dict[str, Any], names: Sequence[str]) -> str:
    """A place in words, such as "width 64, depth 2", by the axes given."""
    told = [f"{axis_title(name)} {value_title(place[name])}" for name in names if name in place]
    return ", ".join(told)


def extreme_cells(cells: Sequence[Cell], record: str) -> list[Cell]:
    """The two cells worth a close look: last panel, least and greatest colour.

    In a sweep of widths and depths these are the narrowest and the widest of the deepest
    networks. One cell if there is no more; none if the record is missing.
    """
    there = [cell for cell in cells if cell.has(record)]
    roles = choose_roles(there)
    if roles.facet is not None:
        there = _at(there, roles.facet, axis_values(there, roles.facet)[-1])
    for name in roles.dash:
        there = _at(there, name, there[0].place[name])
    colour = roles.colour
    if colour is not None:
        order = axis_values(there, colour)
        there = sorted(there, key=lambda cell: order.index(cell.place[colour]))
    return there if len(there) < 2 else [there[0], there[-1]]


def last_cells(cells: Sequence[Cell], facet: str | None, limit: int) -> list[Cell]:
    """One cell a value of `facet`: there the last of every other axis, such as the widest.

    Args:
        cells: The cells, at least one.
        facet: The axis; without it one cell in all.
        limit: Values at most; of more, some from the first to the last.
    """
    groups = [list(cells)]
    if facet is not None:
        groups = [_at(cells, facet, value) for value in spread(axis_values(cells, facet), limit)]
    return [_last(group) for group in groups]


def widest_cells(cells: Sequence[Cell], record: str) -> list[Cell]:
    """The widest of the cells that have a record, at each place of the other axes."""
    widest: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        rest = tuple(item for item in cell.place.items() if item[0] != "width")
        if cell.has(record) and cell.place.get("width", 0) >= _width(widest.get(rest)):
            widest[rest] = cell
    return list(widest.values())


def _width(cell: Cell | None) -> Any:
    return cell.place.get("width", 0) if cell else 0


def spread(values: list[Any], limit: int) -> list[Any]:
    """At most that many of a list, evenly spread, the first and the last among them."""
    if len(values) <= limit:
        return values
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]


def _last(cells: Sequence[Cell]) -> Cell:
    for name in varying(cells):
        cells = _at(cells, name, axis_values(cells, name)[-1])
    return cells[0]


def at_ends(placed: Sequence[AnyPlaced], names: Sequence[str]) -> list[AnyPlaced]:
    """What stands at the first or the last value of each of these axes."""
    ends = {name: axis_values(placed, name) for name in names}
    return [
        one
        for one in placed
        if all(one.place.get(name) in (ends[name][0], ends[name][-1]) for name in names)
    ]


def _at(cells: Sequence[Cell], name: str, value: Any) -> list[Cell]:
    return [cell for cell in cells if cell.place.get(name) == value]


def cell_a_panel(cells: Sequence[Cell], limit: int) -> tuple[str | None, list[Cell]]:
    """The axis with a panel a value, depth if it varies; the last cell at some of its values.

    Args:
        cells: The cells.
        limit: Panels at most.
    """
    if not cells:
        return None, []
    facet = "depth" if "depth" in varying(cells) else choose_roles(cells).colour
    return facet, last_cells(cells, facet, limit)


def at_the_smallest(cells: list[Cell], name: str = "weight_scale") -> list[Cell]:
    """The cells at the least value of an axis, where it varies; that of the scale by default."""
    if name not in varying(cells):
        return cells
    least = axis_values(cells, name)[0]
    return [cell for cell in cells if cell.place[name] == least]


def told_networks(chosen: Sequence[Cell], cells: Sequence[Cell], facet: str | None) -> str:
    """A sentence on the axes that vary in the sweep but not in the picture."""
    alike = [name for name in varying(cells) if name != facet and name not in varying(chosen)]
    return f" Networks of {place_title(chosen[0].place, alike)}." if alike else ""
