"""How long a sweep will take: short pieces of its own programs, timed.

A program takes the steps between its saved times as data, so the very program of a sweep runs a
few steps a saved time, and then some more: the difference is what a step costs, the rest is what a
saved time costs.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn.plan.plan import Group, Plan
from gramdyn.plan.runtime import Runtime
from gramdyn.sweep.compute import compile_group, start_chunk

# The groups that make up this share of the work are compiled and timed, at most so many; the others
# follow by their operations.
_SHARE, _MOST_GROUPS = 0.8, 3
# What a piece must cost beyond a shorter one, in seconds and beside it, to tell what a step costs.
_CLEAR_SECONDS, _CLEAR_SHARE = 0.05, 0.3
_PEAK_SECONDS = 0.1
_PEAK_SIZE = {"cpu": 1024}
_PEAK_SIZE_ELSEWHERE = 8192


@dataclass(frozen=True)
class GroupSpeed:
    """What a group's own program was measured to cost.

    Attributes:
        compile_seconds: To trace and compile it.
        run_seconds: Of one run among those of a chunk, on all devices together.
    """

    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a plan will take.

    Attributes:
        seconds: Wall seconds, compiling and running.
        compile_seconds: Of these, compiling before the first chunk runs.
        peak_share: Operations a second over those of a large product on these devices.
        measured: Names of the groups that were timed.
    """

    seconds: float
    compile_seconds: float
    peak_share: float
    measured: tuple[str, ...]


def forecast(plan: Plan) -> Forecast:
    """Time of a plan from its largest groups, compiled and run for a few steps.

    Cost: compiling up to three programs (kept in the compile cache, so that a run finds them) and
    some tenths of a second for each.
    """
    speeds = {group.name: time_group(group, plan) for group in _largest(plan)}
    running = _running_seconds(plan, speeds)
    compiling = statistics.mean(speed.compile_seconds for speed in speeds.values())
    # The first program is waited for; two threads compile the others beside the runs.
    seconds = compiling + max(running, compiling * (len(plan.groups) - 1) / 2)
    share = plan.flops / max(running, 1e-9) / measure_peak(plan.runtime)
    return Forecast(seconds, compiling, share, tuple(speeds))


def _work(group: Group) -> float:
    return group.run_work * len(group.jobs)


def _largest(plan: Plan) -> list[Group]:
    """The groups with most of the work."""
    ranked = sorted(plan.groups, key=_work, reverse=True)[:_MOST_GROUPS]
    before = np.cumsum([0.0, *map(_work, ranked)])
    return [g for g, done in zip(ranked, before, strict=False) if done < _SHARE * plan.work]


def _running_seconds(plan: Plan, speeds: dict[str, GroupSpeed]) -> float:
    """Seconds of all runs, groups that were not timed by their operations."""
    measured = [group for group in plan.groups if group.name in speeds]
    timed = {group.name: speeds[group.name].run_seconds * len(group.jobs) for group in measured}
    flops = sum(map(_work, measured))
    rate = sum(timed.values()) / max(flops, 1.0)
    return sum(timed.get(group.name, rate * _work(group)) for group in plan.groups)


def time_group(group: Group, plan: Plan) -> GroupSpeed:
    """Compile a group's program and time it over few steps."""
    begun = time.perf_counter()
    program = compile_group(group, plan)
    compiled = time.perf_counter() - begun
    seconds = _extrapolated(lambda gap: _once(program, group, plan, gap), _n_gaps(group), group)
    return GroupSpeed(compiled, seconds / group.chunk)


def _extrapolated(seconds_at: Callable[[int], float], n_gaps: int, group: Group) -> float:
    """Seconds of all steps, from those of one step a saved time and of more."""
    one = seconds_at(1)
    gap, long = 2, seconds_at(2)
    # More steps until they stand out of the clock's noise, but no more than there are.
    while long - one < max(_CLEAR_SECONDS, _CLEAR_SHARE * one) and gap * n_gaps < group.n_steps:
        gap *= 2
        long = seconds_at(gap)
    a_step = max(long - one, 0.0) / ((gap - 1) * max(n_gaps, 1))
    return one + a_step * (group.n_steps - n_gaps)


def _n_gaps(group: Group) -> int:
    return len(group.record.saved_steps(group.n_steps)) - 1


def _once(program: Any, group: Group, plan: Plan, gap: int) -> float:
    """Seconds of the first chunk with this many steps between saved times."""
    gaps = np.asarray([gap] * _n_gaps(group) + [0], np.int32)
    begun = time.perf_counter()
    jax.block_until_ready(start_chunk(program, group, plan, 0, gaps))
    return time.perf_counter() - begun


def measure_peak(runtime: Runtime) -> float:
    """Operations a second of a large product in the runtime's precision, all devices together.

    Cost: a tenth of a second on one device.
    """
    size = _PEAK_SIZE.get(runtime.platform, _PEAK_SIZE_ELSEWHERE)
    with runtime.precision():
        matrix = jax.device_put(jnp.ones((size, size), runtime.dtype), runtime.devices[0])
        product = jax.jit(jnp.matmul)
        rate = 2.0 * size**3 * _calls_a_second(lambda: product(matrix, matrix))
    # Devices on CPU are names for the same cores, and one product takes them all.
    return rate if runtime.platform == "cpu" else rate * len(runtime.devices)


def _calls_a_second(call: Callable[[], Any]) -> float:
    """The best rate of single calls over a while."""
    jax.block_until_ready(call())
    best, end = 0.0, time.perf_counter() + _PEAK_SECONDS
    while time.perf_counter() < end:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        best = max(best, 1.0 / (time.perf_counter() - begun))
    return best
