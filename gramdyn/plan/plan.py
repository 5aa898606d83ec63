"""What a configuration comes to: groups of runs, their programs, bytes and operations."""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gramdyn._checks import check
from gramdyn.data.task import Task
from gramdyn.diagnostics.record import Record
from gramdyn.dynamics.batch import choose_batching
from gramdyn.dynamics.loop import trajectory
from gramdyn.plan.build import (
    GroupBuild,
    Recipe,
    build_record,
    group_params,
    n_steps_of,
    stack_data,
)
from gramdyn.plan.config import Config
from gramdyn.plan.grouping import group_jobs, group_names
from gramdyn.plan.jobs import Job, build_tasks, expand
from gramdyn.plan.memory import RunCost, choose_chunk, held_bytes, live_bytes, process_bytes
from gramdyn.plan.runtime import Runtime

# What a run's step costs whatever its size, in operations, by how runs are batched; measured on
# CPU, 10 to 20 us alone and 0.1 in lockstep, at 80 GFLOP/s.
_STEP_WORK = {"map": 1e6, "vmap": 1e4}


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
        coordinates: "weights", "gram" or "moments".
        widths: Width of each hidden layer of the program; narrower networks are filled up.
        cost: What one run costs.
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
    widths: tuple[int, ...]
    cost: RunCost
    chunk: int

    @property
    def config(self) -> Config:
        """Configuration of its first run."""
        return self.jobs[0].config

    @property
    def n_steps(self) -> int:
        """Steps of each run."""
        return n_steps_of(self.config)

    @property
    def run_flops(self) -> float:
        """Operations of one run's training."""
        return self.cost.flops

    @property
    def run_work(self) -> float:
        """What one run weighs in time, in operations: small steps cost more than theirs."""
        return self.cost.flops + _STEP_WORK[self.cost.batching] * self.n_steps

    @property
    def run_bytes(self) -> int:
        """Bytes of one run's records."""
        return self.cost.record_bytes

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
    def work(self) -> float:
        """What all runs weigh in time (`Group.run_work`)."""
        return sum(group.run_work * len(group.jobs) for group in self.groups)

    @property
    def stored_bytes(self) -> int:
        """Bytes of all records, before compression."""
        return sum(group.run_bytes * len(group.jobs) for group in self.groups)

    @property
    def peak_bytes(self) -> int:
        """Bytes the process will need at most, itself included, estimated."""
        held = [held_bytes(group.cost, group.chunk, self.runtime) for group in self.groups]
        return process_bytes() + max(held)


def make_plan(config: Config) -> Plan:
    """Expand, check and group a sweep; builds the tasks, traces each group, computes nothing.

    Raises:
        InputError: for anything that would fail in a run: values an axis gives, data, diagnostics,
            schemes that the coordinates are not exact for.
    """
    runtime = Runtime.of(config)
    jobs = expand(config)
    tasks = build_tasks(jobs)
    members = group_jobs(jobs, tasks, len(runtime.devices), runtime.platform)
    names = group_names([runs for _, runs in members])
    with runtime.precision():
        groups = [
            _make_group(name, widths, runs, tasks, runtime)
            for name, (widths, runs) in zip(names, members, strict=True)
        ]
    return Plan(config, tuple(groups), runtime)


def _make_group(
    name: str, widths: tuple[int, ...], jobs: list[Job], tasks: dict[str, Task], runtime: Runtime
) -> Group:
    keys = list(dict.fromkeys(job.cell.task_key for job in jobs))
    own = tuple(tasks[key] for key in keys)
    config = jobs[0].config
    build = GroupBuild(*stack_data(config, own, runtime.dtype), Recipe(config), widths)
    places = {key: i for i, key in enumerate(keys)}
    params = group_params(
        jobs, [places[job.cell.task_key] for job in jobs], own[0].n_inputs, widths
    )
    record = build_record(config.record)
    shapes, coordinates, cost = _trace(build, params, record, config, runtime)
    _check_names(shapes, record)
    chunk = choose_chunk(len(jobs), cost, runtime, config.runtime.chunk_runs)
    return Group(
        name, tuple(jobs), build, params, record, own, shapes, coordinates, widths, cost, chunk
    )


_TAKEN = {"status", "failed_at", "step_size", "step", "targets", "label", "task_index", "seed"}


def _check_names(shapes: dict[str, jax.ShapeDtypeStruct], record: Record) -> None:
    """Refuse names of arrays that cannot be stored, and axes of one name and unlike length."""
    lengths: dict[str, int] = {}
    for name, shape in shapes.items():
        free = name not in _TAKEN | {"width", "depth", "run"}
        plain = re.fullmatch(r"[A-Za-z_][\w-]*", name) is not None  # it names a folder
        check(free and plain, "of", "give arrays names that are free and plain words", name)
        axes = record.dims().get(name, tuple(f"{name}_{i}" for i in range(len(shape.shape) - 1)))
        check(len(axes) == len(shape.shape) - 1, "of", f"name each axis of {name}", axes)
        for axis, length in zip(axes, shape.shape[1:], strict=True):
            same = lengths.setdefault(axis, length) == length
            check(same, "of", f"give axis {axis} one length", (lengths[axis], length))


def _trace(
    build: GroupBuild, params: Any, record: Record, config: Config, runtime: Runtime
) -> tuple[dict[str, jax.ShapeDtypeStruct], str, RunCost]:
    """Shapes of one run's records, its coordinates and its cost, from tracing alone."""
    facts: dict[str, Any] = {}
    n_steps = n_steps_of(config)
    steps = record.saved_steps(n_steps)

    def run(build: GroupBuild, params: Any, gaps: Any) -> Any:
        system, scheme = build(params)
        system.check_scheme(scheme)
        facts["flops"] = float(system.step_flops())
        facts["coordinates"] = system.coordinates
        return trajectory(system, scheme, record, gaps, config.runtime.diverged_above)[1]

    one = jax.tree.map(lambda leaf: leaf[0], params)
    gaps = jnp.zeros(len(steps), jnp.int32)
    traced, shapes = jax.make_jaxpr(run, return_shape=True)(build, one, gaps)
    record_bytes = sum(math.prod(s.shape) * s.dtype.itemsize for s in shapes.values())
    shared = sum(leaf.nbytes for leaf in jax.tree.leaves(build))
    flops, work = facts["flops"], live_bytes(traced) - shared
    batching = choose_batching(runtime.batching, runtime.platform, flops)
    cost = RunCost(flops * n_steps, record_bytes, work, shared, batching)
    return shapes, facts["coordinates"], cost
