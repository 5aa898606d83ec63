"""`Record`: which diagnostics, at which steps."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Int

from gramdyn._checks import check, check_positive_int
from gramdyn._errors import InputError
from gramdyn.diagnostics.average import Average
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import make_diagnostic

What = str | Callable[[Any], Any] | AbstractDiagnostic


class Record(eqx.Module):
    """What is looked at during a run, and when.

    Attributes:
        diagnostics: What is looked at.
        every: Steps between saved times; the start and the last step are saved too.
        at: The saved steps themselves, in place of `every`.
    """

    diagnostics: tuple[AbstractDiagnostic, ...]
    every: int | None = eqx.field(static=True)
    at: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        of: Sequence[What] = ("loss",),
        *,
        every: int | None = None,
        at: Sequence[int] | None = None,
        average: int | None = None,
    ):
        """Choose diagnostics and times.

        Args:
            of: Diagnostics: names, "module:function", functions of the fields, or objects.
            every: Save every so many steps; 1 by default.
            at: Save at these steps, increasing from 0; excludes `every`.
            average: Record beside each diagnostic that chatters its mean over so many steps.

        Raises:
            InputError: for unknown names, repeated ones, or times that cannot be.
        """
        check(not isinstance(of, str), "of", "be a list of diagnostics", of)
        found = [make_diagnostic(what) for what in of]
        check(len(found) > 0, "of", "name at least one diagnostic", list(of))
        if average is not None:
            steps = check_positive_int("average", average)
            found += [Average(one, steps) for one in found if one.chatters]
        names = [one.name for one in found]
        check(len(set(names)) == len(names), "of", "name each diagnostic once", names)
        check(every is None or at is None, "every", "be left out where `at` is given", every)
        self.diagnostics = tuple(found)
        every = 1 if every is None else every
        self.every = check_positive_int("every", every) if at is None else None
        self.at = None if at is None else _check_times(at)

    def saved_steps(self, n_steps: int) -> np.ndarray:
        """Steps at which to observe: 0, and on to `n_steps`."""
        if self.at is not None:
            check(self.at[-1] <= n_steps, "at", f"lie within the run's {n_steps} steps", self.at)
            return np.asarray([*self.at, *([n_steps] if self.at[-1] < n_steps else [])])
        steps = np.arange(0, n_steps + 1, self.every)
        return steps if steps[-1] == n_steps else np.append(steps, n_steps)

    def dims(self) -> dict[str, Dims]:
        """Names of the axes of each array, as far as the diagnostics say."""
        return {name: dims for one in self.diagnostics for name, dims in one.dims().items()}

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Labels along the axes that have any."""
        return {axis: names for one in self.diagnostics for axis, names in one.labels().items()}

    def start(self, fields: Any, scheme: Any) -> tuple[Any, ...]:
        """Memory of each diagnostic at t = 0."""
        for one in self.diagnostics:
            if not isinstance(fields, one.needs):
                raise InputError(
                    f"Diagnostic `{one.name}` reads {one.needs.__name__}, "
                    f"but this system shows {type(fields).__name__}."
                )
        return tuple(one.start(fields, scheme) for one in self.diagnostics)

    def step(self, memory: tuple[Any, ...], fields: Any, left: Int[Array, ""]) -> tuple[Any, ...]:
        """Memory of each after a step between saved times."""
        pairs = zip(self.diagnostics, memory, strict=True)
        return tuple(one.step(kept, fields, left) for one, kept in pairs)

    def observe(
        self, memory: tuple[Any, ...], fields: Any
    ) -> tuple[dict[str, Array], tuple[Any, ...]]:
        """Named arrays of a saved time, and the memory of each after it."""
        pairs = zip(self.diagnostics, memory, strict=True)
        found = [one.observe(kept, fields) for one, kept in pairs]
        records: dict[str, Array] = {}
        for arrays, _ in found:
            twice = sorted(records.keys() & arrays.keys())
            check(not twice, "of", "give each array one name", twice)
            records.update(arrays)
        return records, tuple(kept for _, kept in found)


def _check_times(at: Sequence[int]) -> tuple[int, ...]:
    whole = all(isinstance(step, int | np.integer) for step in at)
    times = tuple(int(step) for step in at) if whole else ()
    rising = len(times) > 0 and times[0] == 0 and all(np.diff(times) > 0)
    check(rising, "at", "hold whole numbers rising from 0", tuple(at))
    return times
