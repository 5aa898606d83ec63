"""Axes of a sweep: a list of values, or a rule for one."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

MOST = 1_000_000  # values of an axis, and runs of a sweep


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Count(_Rule):
    """`{count: 16}` is 0, 1, ..., 15; `{count: 16, start: 100}` begins at 100."""

    count: int = Field(ge=1, le=MOST)
    start: int = 0

    def values(self) -> list[Any]:
        """The values."""
        return list(range(self.start, self.start + self.count))


class Logspace(_Rule):
    """`{logspace: [1e-3, 1, 4]}` is 4 numbers evenly spaced in the logarithm, ends included."""

    logspace: tuple[float, float, int]

    @model_validator(mode="after")
    def _check(self) -> "Logspace":
        low, high, count = self.logspace
        if low <= 0 or high <= 0 or not 1 <= count <= MOST:
            raise ValueError(f"logspace must be [low > 0, high > 0, count from 1 to {MOST}]")
        return self

    def values(self) -> list[Any]:
        """The values."""
        low, high, count = self.logspace
        return [float(f"{value:.12g}") for value in np.geomspace(low, high, count)]


class Linspace(_Rule):
    """`{linspace: [0, 1, 5]}` is 5 evenly spaced numbers, ends included."""

    linspace: tuple[float, float, int]

    @model_validator(mode="after")
    def _check(self) -> "Linspace":
        if not 1 <= self.linspace[2] <= MOST:
            raise ValueError(f"linspace must be [low, high, count from 1 to {MOST}]")
        return self

    def values(self) -> list[Any]:
        """The values."""
        low, high, count = self.linspace
        return [float(f"{value:.12g}") for value in np.linspace(low, high, count)]


class Listed(_Rule):
    """`[64, 256]` is those values."""

    listed: list[Any] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, given: Any) -> Any:
        return {"listed": list(given)} if isinstance(given, list | tuple) else given

    def values(self) -> list[Any]:
        """The values."""
        return self.listed


def _which(given: Any) -> Literal["count", "logspace", "linspace", "listed"] | None:
    """The rule an axis means, by the key it has; without this a mistake would be told thrice.

    A resolved configuration, which is read again on other machines, says `{listed: [...]}`.
    """
    if isinstance(given, list | tuple | Listed):
        return "listed"
    keys = given if isinstance(given, dict) else getattr(type(given), "model_fields", {})
    for key in ("count", "logspace", "linspace", "listed"):
        if key in keys:
            return key
    return None


Axis = Annotated[
    Annotated[Count, Tag("count")]
    | Annotated[Logspace, Tag("logspace")]
    | Annotated[Linspace, Tag("linspace")]
    | Annotated[Listed, Tag("listed")],
    Discriminator(
        _which,
        custom_error_type="axis",
        custom_error_message="must be a list of values, {count: n}, {logspace: [low, high, n]} "
        "or {linspace: [low, high, n]}",
    ),
]
