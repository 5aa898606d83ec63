"""From a configuration to jobs: one for each combination of the axes' values."""

import itertools
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from gramdyn._errors import ConfigError
from gramdyn.data.task import Task
from gramdyn.plan.axes import MOST
from gramdyn.plan.build import build_scheme, build_task, check_structure, numbers_of
from gramdyn.plan.config import Config
from gramdyn.plan.kinds import HOMES, model_of
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
        place: Where it stands on each axis of the sweep. An axis of whole tasks that differ in
            numbers alone is an axis for each of those numbers.
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
            # Check their numbers, which are arrays later on.
            build_scheme(cells[told].config.scheme, {})
            check_structure(cells[told].config.network)
        jobs.append(Job(cells[told], _check_seed(place.get("seed", config.seed)), place))
    return _spread_tasks(jobs) if "task" in keys else jobs


def _spread_tasks(jobs: list[Job]) -> list[Job]:
    """Whole tasks on an axis as axes of the numbers in which they differ; else as they are.

    A number that is left out, as the samples of a population, stands at infinity.
    """
    tasks = {
        id(job.cell): job.config.task.model_dump(mode="json")  # type: ignore[attr-defined]
        for job in jobs
    }
    names = _numbers_apart(list(tasks.values()))
    found = []
    for job in jobs:
        own = {f"task.{name}": tasks[id(job.cell)][name] for name in names}
        numbers = {key: math.inf if value is None else value for key, value in own.items()}
        rest = {key: value for key, value in job.place.items() if key != "task" or not names}
        found.append(replace(job, place=numbers | rest))
    return found


def _numbers_apart(tasks: list[dict[str, Any]]) -> list[str]:
    """Keys in which tasks of one kind differ; none where kinds differ, or what is no number."""
    if len({task["kind"] for task in tasks}) > 1:
        return []
    names = [name for name in tasks[0] if any(task[name] != tasks[0][name] for task in tasks)]
    kinds = {type(task[name]) for task in tasks for name in names}
    return names if kinds <= {int, float, type(None)} else []


def _configure(base: dict[str, Any], own: dict[str, Any]) -> Config:
    """The configuration with a cell's values on the axes, checked."""
    data = json.loads(json.dumps(base))
    for key, value in own.items():
        set_key(data, key.split("."), value, f"sweep.{key}")
    _forget_defaults(data, base, own)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        told = ", ".join(f"{key}={value}" for key, value in own.items())
        lines = explain(error, data, "sweep")
        raise ConfigError([f"{line} (at {told})" for line in lines]) from None


def _forget_defaults(data: dict[str, Any], base: dict[str, Any], own: dict[str, Any]) -> None:
    """Where an axis says the kind of a part, drop what the base's kind has by default.

    What the user set stays, and is refused where the other kind does not have it.
    """
    for where in HOMES:
        if not isinstance(own.get(f"{where}.kind"), str):
            continue
        part, before = _part(data, where), _part(base, where)
        fields = model_of(where, before["kind"]).model_fields
        for key, value in before.items():
            may_go = not fields[key].is_required() and f"{where}.{key}" not in own
            if may_go and value == to_jsonable_python(fields[key].get_default()):
                del part[key]


def _part(data: dict[str, Any], where: str) -> dict[str, Any]:
    """The part of a configuration at a dotted key."""
    return reduce(lambda now, step: now[step], where.split("."), data)


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
