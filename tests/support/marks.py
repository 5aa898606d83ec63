"""Cases of one test of which some are for the long tests alone."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def with_long(cases: Iterable[Any], long: Collection[Any]) -> list[Any]:
    """The cases of a test, those in ``long`` marked ``slow``; tuples are one value a parameter."""
    return [_case(one, [pytest.mark.slow] if one in long else []) for one in cases]


def _case(one: Any, marks: list[pytest.MarkDecorator]) -> Any:
    return pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=marks)
