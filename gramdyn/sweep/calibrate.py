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

from gramdyn.sweep.compute import compile_group, start_chunk
from gramdyn.sweep.plan import Group, Plan
from gramdyn.sweep.runtime import Runtime

# Groups that are compiled and timed; the others follow by their operations.
_MOST_GROUPS = 3
_PEAK_SECONDS = 0.1
_PEAK_SIZE = {"cpu": 1024}
_PEAK_SIZE_ELSEWHERE = 8192


@dataclass(frozen=True)
class GroupSpeed:
    """What a group's own program was measured to cost.

    Attributes:
        compile_seconds: To trace and compile it.
        run_seconds: Of one run among those of a chunk, on all devices together.
        held_bytes: What the program holds, by its own analysis: arguments, results, temporaries.
    """

    compile_seconds: float
    run_seconds: float
    held_bytes: int


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
    work = lambda group: group.run_flops * len(group.jobs)  # noqa: E731
    largest = sorted(plan.groups, key=work, reverse=True)[:_MOST_GROUPS]
    speeds = {group.name: time_group(group, plan) for group in largest}
    per_flop = sum(speeds[g.name].run_seconds * len(g.jobs) for g in largest) / sum(
        max(work(g), 1.0) for g in largest
    )
    running = sum(
        speeds[g.name].run_seconds * len(g.jobs) if g.name in speeds else per_flop * work(g)
        for g in plan.groups
    )
    compiling = statistics.mean(speed.compile_seconds for speed in speeds.values())
    # The first program is waited for; two threads compile the others beside the runs.
    seconds = compiling + max(running, compiling * (len(plan.groups) - 1) / 2)
    share = plan.flops / max(running, 1e-9) / measure_peak(plan.runtime)
    return Forecast(seconds, compiling, share, tuple(speeds))


def time_group(group: Group, plan: Plan) -> GroupSpeed:
    """Compile a group's program and time it over few steps."""
    begun = time.perf_counter()
    program = compile_group(group, plan)
    compiled = time.perf_counter() - begun
    n_gaps = len(group.record.saved_steps(group.n_steps)) - 1
    short, long = 1, max(2, min(3, group.n_steps // max(n_gaps, 1)))
    _once(program, group, plan, short)
    times = [_once(program, group, plan, gap) for gap in (short, long)]
    # Too short to tell apart, or noise: then all of it goes with the steps.
    a_step = max(times[1] - times[0], 0.0) / ((long - short) * max(n_gaps, 1))
    seconds = times[0] + a_step * max(group.n_steps - n_gaps * short, 0)
    return GroupSpeed(compiled, seconds / group.chunk, _held(program))


def _once(program: Any, group: Group, plan: Plan, gap: int) -> float:
    """Seconds of the first chunk with this many steps between saved times."""
    n_gaps = len(group.record.saved_steps(group.n_steps)) - 1
    gaps = np.asarray([gap] * n_gaps + [0], np.int32)
    begun = time.perf_counter()
    jax.block_until_ready(start_chunk(program, group, plan, 0, gaps))
    return time.perf_counter() - begun


def _held(program: Any) -> int:
    """Bytes by the compiler's own analysis, 0 where it gives none."""
    found = program.memory_analysis() if hasattr(program, "memory_analysis") else None
    names = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(int(getattr(found, name, 0)) for name in names)


def measure_peak(runtime: Runtime) -> float:
    """Operations a second of a large product in the runtime's precision, all devices together.

    Cost: a tenth of a second on one device.
    """
    size = _PEAK_SIZE.get(runtime.platform, _PEAK_SIZE_ELSEWHERE)
    with runtime.precision():
        matrix = jax.device_put(jnp.ones((size, size), runtime.dtype), runtime.devices[0])
        product = jax.jit(jnp.matmul)
        rate = 2.0 * size**3 * _calls_a_second(lambda: product(matrix, matrix))
    return rate * len(runtime.devices)


def _calls_a_second(call: Callable[[], Any]) -> float:
    """The best rate of single calls over a while."""
    jax.block_until_ready(call())
    best, end = 0.0, time.perf_counter() + _PEAK_SECONDS
    while time.perf_counter() < end:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        best = max(best, 1.0 / (time.perf_counter() - begun))
    return best
