"""From jobs to groups: runs that share one compiled program."""

import json
from typing import Any

from gramdyn._checks import check
from gramdyn.data.task import Task
from gramdyn.plan.build import build_record, build_scheme, n_steps_of
from gramdyn.plan.config import Config
from gramdyn.plan.jobs import Cell, Job
from gramdyn.plan.views import view_of
from gramdyn.plan.widths import Sharer, share_widths

# Keys of a network's configuration that say its widths, and no more.
_WIDTHS = ("width", "depth", "widths")


# Of a group, in characters: files are named after it, and a file system takes 255 in all.
_LONGEST_NAME = 100


def group_jobs(
    jobs: list[Job], tasks: dict[str, Task], n_devices: int, platform: str
) -> list[tuple[tuple[int, ...], list[Job]]]:
    """Runs that share a program, each list with the widths it is compiled for.

    What changes the program tells groups apart; everything else is an array in it. Runs of unlike
    width share one, filled up with neurons that never move, where that is cheaper than compiling
    another (see `gramdyn.plan.widths`).
    """
    families: dict[str, dict[tuple[int, ...], list[Job]]] = {}
    keys: dict[Cell, str] = {}
    for job in jobs:
        if job.cell not in keys:
            keys[job.cell] = _signature(job.cell, tasks[job.cell.task_key])
        own = families.setdefault(keys[job.cell], {})
        own.setdefault(job.config.network.layer_widths, []).append(job)
    found = []
    for family in families.values():
        shared = _shared_widths(family, tasks, n_devices, platform)
        members: dict[tuple[int, ...], list[Job]] = {}
        for widths, runs in family.items():
            members.setdefault(shared[widths], []).extend(runs)
        found += list(members.items())
    place = {id(job): i for i, job in enumerate(jobs)}
    found = [(widths, sorted(runs, key=lambda job: place[id(job)])) for widths, runs in found]
    return sorted(found, key=lambda group: place[id(group[1][0])])


def _signature(cell: Cell, task: Task) -> str:
    """Everything but the widths that changes the compiled program, as text."""
    data: Any = cell.config.resolved()
    for part in ("task", "seed", "sweep"):
        data.pop(part)
    for key in _WIDTHS:
        data["network"].pop(key)
    for key in cell.numbers:
        *path, name = key.split(".")
        part = data
        for step in path:
            part = part[step]
        part[name] = "relative" if isinstance(part[name], dict) else "number"
    depth = len(cell.config.network.layer_widths)
    return json.dumps([data, depth, view_of(cell.config).shape(task)], sort_keys=True)


def _shared_widths(
    family: dict[tuple[int, ...], list[Job]],
    tasks: dict[str, Task],
    n_devices: int,
    platform: str,
) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The widths that each width of a family is compiled for."""
    first = next(iter(family.values()))[0]
    padding = first.config.runtime.padding
    alone = {widths: widths for widths in family}
    if padding == "never" or len(family) == 1:
        return alone
    obstacle = _obstacle(first.config)
    if obstacle is not None:
        check(padding == "auto", "runtime.padding", f"be auto or never {obstacle}", padding)
        return alone
    task = tasks[first.cell.task_key]
    n_records = len(build_record(first.config.record).saved_steps(n_steps_of(first.config)))
    rows = view_of(first.config).rows(task)
    sharer = Sharer(rows, task.n_inputs, n_steps_of(first.config), n_records, n_devices, platform)
    runs = {widths: len(jobs) for widths, jobs in family.items()}
    return share_widths(runs, sharer, always=padding == "always")


def _obstacle(config: Config) -> str | None:
    """Why networks of this configuration cannot be filled up, if so."""
    if view_of(config).unpadded:
        return view_of(config).unpadded
    if config.starts_thin:
        return f"with init {config.network.init}, drawn in the frame of its own rows"
    if not build_scheme(config.scheme, {}).ignores_padding:
        return "with a scheme that looks at all weights together"
    seeing = [
        one.name for one in build_record(config.record).diagnostics if not one.ignores_padding
    ]
    return f"where `{seeing[0]}` is recorded, which counts neurons" if seeing else None


def group_names(groups: list[list[Job]]) -> list[str]:
    """A name a group, from the axes that differ between groups and not within any."""
    telling = [key for key in groups[0][0].place if all(_constant(key, jobs) for jobs in groups)]
    names = [
        "_".join(f"{key.split('.')[-1]}-{jobs[0].place[key]}" for key in telling) or "runs"
        for jobs in groups
    ]
    names = ["".join(c if c.isalnum() or c in "._-" else "-" for c in name) for name in names]
    if len(set(names)) < len(names) or max(map(len, names)) > _LONGEST_NAME:
        return [f"group-{i}" for i in range(len(names))]
    return names


def _constant(key: str, jobs: list[Job]) -> bool:
    first = _told(jobs[0].place[key])
    return all(_told(job.place[key]) == first for job in jobs)


def _told(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
