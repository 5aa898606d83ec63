"""Colour, panel and dash of each place of a sweep."""

from collections.abc import Sequence
from typing import Any

from gramdyn.report.grid import Grid
from gramdyn.report.roles import (
    Placed,
    Roles,
    axis_title,
    axis_values,
    choose_roles,
    place_title,
    value_title,
)
from gramdyn.report.theme import DASHES, ordered_colours


class Styles:
    """Colour, panel and dash of each place of the sweep.

    Args:
        cells: All cells of the sweep, so that a value has the same colour in every picture; or
            curves, where their places have axes of their own.
        roles: What the axes are shown by; chosen if not given.
    """

    def __init__(self, cells: Sequence[Placed], roles: Roles | None = None):
        self.roles: Roles = choose_roles(cells) if roles is None else roles
        self.colours = _named(cells, self.roles.colour, ordered_colours)
        self.facets = _named(cells, self.roles.facet, range)
        self.rows = _named(cells, self.roles.row, range)
        places = [tuple(cell.place[name] for name in self.roles.dash) for cell in cells]
        self._dashes = list(dict.fromkeys(places))

    def colour(self, place: dict[str, Any]) -> str:
        """Colour of a place."""
        return str(self.colours[place.get(self.roles.colour or "")])

    def facet(self, place: dict[str, Any]) -> int:
        """Index of its panel, from 0."""
        return int(self.facets[place.get(self.roles.facet or "")])

    def at(self, place: dict[str, Any]) -> dict[str, int]:
        """Row and column of its panel, from 1."""
        row = int(self.rows[place.get(self.roles.row or "")])
        return self.grid.at(row * len(self.facets) + self.facet(place))

    @property
    def grid(self) -> Grid:
        """Where the panels stand: a column a facet if there are rows, else side by side."""
        count = len(self.facets)
        if self.roles.row is None:
            return Grid.wrapped(count)
        return Grid(count * len(self.rows), count)

    def dash(self, place: dict[str, Any]) -> str:
        """Dash of its line."""
        key = tuple(place[name] for name in self.roles.dash)
        return DASHES[self._dashes.index(key) % len(DASHES)]

    def label(self, place: dict[str, Any]) -> str:
        """Its entry in the legend: the value of the colour, then of the dashes."""
        names = self.roles.dash
        colour = value_title(place[self.roles.colour]) if self.roles.colour else ""
        return ", ".join(part for part in (colour, place_title(place, names)) if part)

    def rank(self, place: dict[str, Any]) -> int:
        """Where its entry stands in the legend: by dash, then by colour."""
        dash = self._dashes.index(tuple(place[name] for name in self.roles.dash))
        return dash * len(self.colours) + list(self.colours).index(
            place.get(self.roles.colour or "")
        )

    @property
    def legend_title(self) -> str:
        """Heading of the legend."""
        return axis_title(self.roles.colour) if self.roles.colour else ""

    @property
    def facet_titles(self) -> list[str]:
        """Headings of the panels."""
        name = self.roles.facet
        return [place_title({name: value}, [name]) for value in self.facets] if name else [""]


def _named(cells: Sequence[Placed], name: str | None, make: Any) -> dict[Any, Any]:
    values = [None] if name is None else axis_values(cells, name)
    return dict(zip(values, make(len(values)), strict=True))
