"""From a configuration to jobs: one for each combination of the axes' values."""

import itertools
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from gramdyn._errors import ConfigError
from gramdyn.data.task import Task
from gramdyn.plan.axes import MOST
from gramdyn.plan.build import build_scheme, build_task, numbers_of
from gramdyn.plan.config import Config
from gramdyn.plan.load import explain, set_key


@dataclass(frozen=True, eq=False)
class Cell:
    """What runs that differ by their seed alone have in common; kept here once for all of them.

    Attributes:
        config: The resolved configuration, whose own seed is that of no run where seeds are an
            axis.
    """

    config: Config

    @cached_property
    def task_key(self) -> str:
        """What tells tasks apart."""
        task = self.config.task.model_dump(mode="json")  # type: ignore[attr-defined]
        return json.dumps(task, sort_keys=True)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The numbers that are arrays in the compiled program, by dotted key."""
        return numbers_of(self.config)


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        cell: Everything about it but the seed.
        seed: Its seed.
        place: Where it stands on each axis of the sweep.
    """

    cell: Cell
    seed: int
    place: dict[str, Any]

    @property
    def config(self) -> Config:
        """Configuration of its cell."""
        return self.cell.config


def expand(config: Config) -> list[Job]:
    """Every combination of the axes' values as a job, checked.

    Raises:
        ConfigError: for a value of an axis that the key does not allow.
    """
    keys = list(config.sweep)
    values = [axis.values() for axis in config.sweep.values()]
    total = math.prod(len(choices) for choices in values)
    if total > MOST:
        raise ConfigError([f"sweep: may have at most {MOST} runs, but has {total}"])
    base = config.resolved()
    base["sweep"] = {}
    cells: dict[str, Cell] = {}
    jobs = []
    for choice in itertools.product(*values):
        place = dict(zip(keys, choice, strict=True))
        own = {key: value for key, value in place.items() if key != "seed"}
        told = json.dumps(own, sort_keys=True, default=str)
        if told not in cells:
            cells[told] = Cell(_configure(base, own))
            build_scheme(cells[told].config.scheme, {})  # checks its numbers, arrays later on
        jobs.append(Job(cells[told], _check_seed(place.get("seed", config.seed)), place))
    return jobs


def _configure(base: dict[str, Any], own: dict[str, Any]) -> Config:
    """The configuration with a cell's values on the axes, checked."""
    data = json.loads(json.dumps(base))
    for key, value in own.items():
        set_key(data, key.split("."), value, f"sweep.{key}")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        told = ", ".join(f"{key}={value}" for key, value in own.items())
        lines = explain(error, data, "sweep")
        raise ConfigError([f"{line} (at {told})" for line in lines]) from None


def _check_seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise ConfigError(
            [f"sweep.seed: must be whole numbers from 0 to 2^31 - 1, but has {seed!r}"]
        )
    return seed


def build_tasks(jobs: list[Job]) -> dict[str, Task]:
    """Each distinct task once, by the key of its cells."""
    cells = {job.cell.task_key: job.cell for job in jobs}
    return {key: build_task(cell.config) for key, cell in cells.items()}
