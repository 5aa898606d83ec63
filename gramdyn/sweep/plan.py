"""From a configuration to jobs, and from jobs to groups that share one compiled program."""

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from gramdyn._checks import check
from gramdyn._errors import ConfigError, InputError
from gramdyn.data.task import Task
from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.batch import choose_batching
from gramdyn.dynamics.loop import trajectory
from gramdyn.sweep.axes import MOST
from gramdyn.sweep.build import (
    GroupBuild,
    Recipe,
    build_record,
    build_scheme,
    build_task,
    group_params,
    numbers_of,
)
from gramdyn.sweep.config import Config
from gramdyn.sweep.load import explain, set_key
from gramdyn.sweep.runtime import Runtime
from gramdyn.systems.network import NetworkSystem

# Operations a device is given at a time on CPU: about a second, so that progress shows and a lost
# chunk costs little. Accelerators get as many runs as memory holds.
_CHUNK_FLOPS = 1e11


@dataclass(frozen=True)
class Job:
    """One run: its resolved configuration and where it stands on each axis of the sweep."""

    config: Config
    place: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Runs that share one compiled program.

    Attributes:
        name: Name of its node in the results, made of the axes that tell the groups apart.
        jobs: Its runs, in the order of the run axis.
        build: From one run's parameters to its system and scheme.
        params: Parameters of the runs, arrays with a leading run axis.
        record: What is recorded.
        tasks: The distinct tasks of its runs.
        shapes: Shape and dtype of each record of one run, time axis leading.
        coordinates: "weights" or "gram".
        run_flops: Operations of one run's training.
        run_bytes: Bytes of one run's records.
        work_bytes: Bytes of one run's state and fields while it runs, roughly.
        chunk: Runs computed and written together.
    """

    name: str
    jobs: tuple[Job, ...]
    build: GroupBuild
    params: Any
    record: Record
    tasks: tuple[Task, ...]
    shapes: dict[str, jax.ShapeDtypeStruct]
    coordinates: str
    run_flops: float
    run_bytes: int
    work_bytes: int
    chunk: int

    @property
    def config(self) -> Config:
        """Configuration of its first run."""
        return self.jobs[0].config

    @property
    def n_steps(self) -> int:
        """Steps of each run."""
        return int(self.config.scheme.n_steps)  # type: ignore[attr-defined]

    @property
    def starts(self) -> range:
        """Index of the first run of each chunk."""
        return range(0, len(self.jobs), self.chunk)

    def runs_from(self, start: int) -> int:
        """Number of runs in the chunk that starts here."""
        return min(self.chunk, len(self.jobs) - start)


@dataclass(frozen=True)
class Plan:
    """What a configuration comes to.

    Attributes:
        config: The configuration.
        groups: Groups of runs that share a compiled program.
        runtime: Devices, precision and memory it is planned for.
    """

    config: Config
    groups: tuple[Group, ...]
    runtime: Runtime

    @property
    def n_runs(self) -> int:
        """Runs of all groups."""
        return sum(len(group.jobs) for group in self.groups)

    @property
    def flops(self) -> float:
        """Operations of all runs' training."""
        return sum(group.run_flops * len(group.jobs) for group in self.groups)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all records, before compression."""
        return sum(group.run_bytes * len(group.jobs) for group in self.groups)


def make_plan(config: Config) -> Plan:
    """Expand, check and group a sweep; builds the tasks, traces each group, computes nothing.

    Raises:
        InputError: for anything that would fail in a run: values an axis gives, data, diagnostics,
            schemes that the coordinates are not exact for.
    """
    runtime = Runtime.of(config)
    jobs = expand(config)
    tasks = _build_tasks(jobs)
    members: dict[str, list[Job]] = {}
    for job in jobs:
        members.setdefault(_signature(job, tasks[_task_key(job)]), []).append(job)
    names = _group_names(list(members.values()), config)
    with runtime.precision():
        groups = [
            _make_group(name, runs, tasks, runtime)
            for name, runs in zip(names, members.values(), strict=True)
        ]
    return Plan(config, tuple(groups), runtime)


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
    made: dict[str, Config] = {}
    jobs = []
    for choice in itertools.product(*values):
        place = dict(zip(keys, choice, strict=True))
        cell = {key: value for key, value in place.items() if key != "seed"}
        told = json.dumps(cell, sort_keys=True, default=str)
        if told not in made:
            made[told] = _cell(base, cell)
            build_scheme(made[told].scheme, {})  # checks its numbers, which are arrays later on
        job = made[told]
        if "seed" in place:
            job = _with_seed(job, place["seed"])
        jobs.append(Job(job, place))
    return jobs


def _cell(base: dict[str, Any], cell: dict[str, Any]) -> Config:
    data = json.loads(json.dumps(base))
    for key, value in cell.items():
        set_key(data, key.split("."), value, f"sweep.{key}")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = explain(error, data, "sweep")
        raise ConfigError([f"{line} (at {_told(cell)})" for line in lines]) from None


def _with_seed(config: Config, seed: Any) -> Config:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
        raise ConfigError(
            [f"sweep.seed: must be whole numbers from 0 to 2^31 - 1, but has {seed!r}"]
        )
    return config.model_copy(update={"seed": seed})


def _told(cell: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in cell.items())


def _task_key(job: Job) -> str:
    return json.dumps(job.config.task.model_dump(mode="json"), sort_keys=True)  # type: ignore[attr-defined]


def _build_tasks(jobs: list[Job]) -> dict[str, Task]:
    """Each distinct task once."""
    found: dict[str, Task] = {}
    for job in jobs:
        key = _task_key(job)
        if key not in found:
            found[key] = build_task(job.config)
    return found


def _signature(job: Job, task: Task) -> str:
    """Everything that changes the compiled program, as text."""
    data = job.config.resolved()
    for part in ("task", "seed", "sweep"):
        data.pop(part)
    for key in numbers_of(job.config):
        part, name = key.split(".")
        is_relative = isinstance(data[part][name], dict)
        data[part][name] = "relative" if is_relative else "number"
    return json.dumps([data, task.inputs.shape, task.targets.shape], sort_keys=True)


def _group_names(groups: list[list[Job]], config: Config) -> list[str]:
    """A name a group, from the axes that differ between groups and not within any."""
    telling = [key for key in config.sweep if all(_constant(key, jobs) for jobs in groups)]
    names = [
        "_".join(f"{key.split('.')[-1]}-{jobs[0].place[key]}" for key in telling) or "runs"
        for jobs in groups
    ]
    names = ["".join(c if c.isalnum() or c in "._-" else "-" for c in name) for name in names]
    if len(set(names)) < len(names):
        return [f"group-{i}" for i in range(len(names))]
    return names


def _constant(key: str, jobs: list[Job]) -> bool:
    return len({json.dumps(job.place[key], sort_keys=True) for job in jobs}) == 1


def _make_group(name: str, jobs: list[Job], tasks: dict[str, Task], runtime: Runtime) -> Group:
    keys = list(dict.fromkeys(_task_key(job) for job in jobs))
    own = tuple(tasks[key] for key in keys)
    index = [keys.index(_task_key(job)) for job in jobs]
    config = jobs[0].config
    dtype = np.dtype(config.precision)
    build = GroupBuild(
        np.stack([task.inputs for task in own]).astype(dtype),
        np.stack([task.targets for task in own]).astype(dtype),
        Recipe(config),
    )
    params = group_params(
        [job.config.seed for job in jobs], index, [numbers_of(j.config) for j in jobs]
    )
    record = build_record(config.record)
    n_steps = int(config.scheme.n_steps)  # type: ignore[attr-defined]
    shapes, facts = _trace(build, params, record, n_steps, config)
    _check_names(shapes, record)
    run_bytes = sum(math.prod(s.shape) * s.dtype.itemsize for s in shapes.values())
    sizes = (facts["flops"], run_bytes, facts["work_bytes"])
    chunk = _chunk_size(len(jobs), *sizes, runtime)
    return Group(
        name, tuple(jobs), build, params, record, own, shapes, facts["coordinates"], *sizes, chunk
    )


_TAKEN = {"status", "failed_at", "step_size", "step", "targets", "label", "task_index", "seed"}


def _check_names(shapes: dict[str, jax.ShapeDtypeStruct], record: Record) -> None:
    """Refuse names of arrays that cannot be stored, and axes of one name and unlike length."""
    lengths: dict[str, int] = {}
    for name, shape in shapes.items():
        good = name not in _TAKEN | {"width", "depth", "run"} and "/" not in name
        check(good, "of", "give arrays names that are free and without /", name)
        axes = record.dims().get(name, tuple(f"{name}_{i}" for i in range(len(shape.shape) - 1)))
        check(len(axes) == len(shape.shape) - 1, "of", f"name each axis of {name}", axes)
        for axis, length in zip(axes, shape.shape[1:], strict=True):
            same = lengths.setdefault(axis, length) == length
            check(same, "of", f"give axis {axis} one length", (lengths[axis], length))


def _trace(
    build: GroupBuild, params: Any, record: Record, n_steps: int, config: Config
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, Any]]:
    """Shapes of one run's records and facts about its system, from tracing alone."""
    facts: dict[str, Any] = {}
    steps = record.saved_steps(n_steps)

    def run(params: Any, gaps: Any) -> Any:
        system, scheme = build(params)
        system.check_scheme(scheme)
        assert isinstance(system, NetworkSystem)
        facts["flops"] = float(system.step_flops() * n_steps)
        facts["coordinates"] = system.coordinates
        leaves = jax.tree.leaves(system.initial_state())
        facts["work_bytes"] = 4 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        return trajectory(system, scheme, record, gaps, config.runtime.diverged_above)[1]

    one = jax.tree.map(lambda leaf: leaf[0], params)
    shapes = jax.eval_shape(run, one, jnp.zeros(len(steps), jnp.int32))
    return shapes, facts


def _chunk_size(
    runs: int, run_flops: float, run_bytes: int, work_bytes: int, runtime: Runtime
) -> int:
    """Runs computed together: as memory allows, on CPU in pieces of about a second a device."""
    n_devices = len(runtime.devices)
    if work_bytes * n_devices > runtime.memory_bytes:
        raise InputError(
            f"One run's weights and fields take about {work_bytes / 2**30:.2g} GiB on each of "
            f"{n_devices} device(s), but runtime.memory_gb allows "
            f"{runtime.memory_bytes / 2**30:.2g} in all; use fewer devices, or raise it."
        )
    # Two chunks' records live at once: one is computed while the other is written.
    held = 2 * run_bytes
    if choose_batching(runtime.batching, runtime.platform) == "vmap":
        held += work_bytes
    most = runtime.memory_bytes // max(held, 1)
    if most < 1:
        raise InputError(
            f"One run's records take {held / 2**30:.2g} GiB twice over, but runtime.memory_gb "
            f"allows {runtime.memory_bytes / 2**30:.2g}; record less, or less often, or raise it."
        )
    if runtime.platform == "cpu":
        most = min(most, max(n_devices, int(_CHUNK_FLOPS * n_devices / max(run_flops, 1.0))))
    n_chunks = math.ceil(runs / max(1, min(most, runs)))
    even = math.ceil(runs / n_chunks)
    return math.ceil(even / n_devices) * n_devices if even >= n_devices else even
