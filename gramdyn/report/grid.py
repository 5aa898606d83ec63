"""Panels side by side, and below each other where they are many."""

from dataclasses import dataclass
from typing import Any

COLUMNS = 3


@dataclass(frozen=True)
class Grid:
    """Where panels stand.

    Attributes:
        count: How many there are, row by row.
        columns: How many stand side by side.
    """

    count: int
    columns: int

    @classmethod
    def wrapped(cls, count: int) -> "Grid":
        """At most three side by side, rows as equal as can be."""
        rows = -(-count // COLUMNS)
        return cls(count, -(-count // rows))

    @property
    def rows(self) -> int:
        """How many stand below each other."""
        return -(-self.count // self.columns)

    def at(self, index: int) -> dict[str, int]:
        """Row and column of a panel, from 1."""
        return {"row": index // self.columns + 1, "col": index % self.columns + 1}

    def specs(self) -> list[list[dict[str, Any] | None]]:
        """What `make_subplots` is told, so that no empty panel stands behind the last."""
        return [
            [
                {} if row * self.columns + column < self.count else None
                for column in range(self.columns)
            ]
            for row in range(self.rows)
        ]
