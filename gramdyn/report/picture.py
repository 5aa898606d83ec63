"""What every picture of the report has: figure, words, numbers."""

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go


@dataclass(frozen=True)
class Picture:
    """A figure with what is said about it and the numbers it is drawn from.

    Attributes:
        name: Short name, that of its CSV file.
        title: Heading.
        text: How to read it.
        figure: The figure.
        rows: Numbers drawn, one dictionary a row.
        law: The law behind it, as HTML; empty where there is none.
    """

    name: str
    title: str
    text: str
    figure: go.Figure
    rows: list[dict[str, Any]]
    law: str = ""
