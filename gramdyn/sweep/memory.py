"""How much memory a sweep takes, told before it runs, and how many runs go at once.

What a program holds beside its results is estimated from its trace: the bytes alive at the worst
moment if each result lived from the operation that makes it to the last that reads it. XLA fuses
operations and holds less, so this errs on the safe side.
"""

import math
import resource
import sys
from dataclasses import dataclass
from typing import Any

from gramdyn._errors import InputError
from gramdyn.dynamics.batch import choose_batching
from gramdyn.sweep.runtime import Runtime

# Operations a device is given at a time on CPU: about a second, so that progress shows and a lost
# chunk costs little. Accelerators get as many runs as memory holds.
_CHUNK_FLOPS = 1e11
# What compiling adds to the process, in bytes; measured 60 to 180 MB for one to three programs.
_COMPILER_BYTES = 150e6


@dataclass(frozen=True)
class RunCost:
    """What one run costs.

    Attributes:
        flops: Operations of its training.
        record_bytes: Bytes of its records.
        work_bytes: Bytes it holds beside them while it runs, estimated.
    """

    flops: float
    record_bytes: int
    work_bytes: int


def live_bytes(jaxpr: Any) -> int:
    """Bytes alive at the worst moment of a trace, its arguments and results among them.

    Args:
        jaxpr: What `jax.make_jaxpr` gives, or a part of it.

    Cost: time in proportion to the length of the trace.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in _variables(eqn.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    alive = {var: _size(var) for var in [*jaxpr.invars, *jaxpr.constvars]}
    now = peak = sum(alive.values())
    for i, eqn in enumerate(jaxpr.eqns):
        made = {var: _size(var) for var in eqn.outvars if var not in alive}
        inner = max((live_bytes(sub) for sub in _inner(eqn)), default=0)
        outside = sum(_size(var) for var in _variables(eqn.invars))
        now += sum(made.values())
        # Results of a loop are among what its body holds; so are its arguments.
        peak = max(peak, now + max(0, inner - outside - sum(made.values())))
        alive |= made
        for var in {*_variables(eqn.invars), *made}:
            if last.get(var, i) <= i and var in alive:
                now -= alive.pop(var)
    return peak


def _variables(items: Any) -> list[Any]:
    """Variables among them; literals hold nothing."""
    return [item for item in items if not hasattr(item, "val")]


def _size(var: Any) -> int:
    aval = var.aval
    itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 0)
    return math.prod(getattr(aval, "shape", ())) * itemsize


def _inner(eqn: Any) -> list[Any]:
    """Traces inside an operation: bodies of loops, branches, calls."""
    found: list[Any] = []
    for value in eqn.params.values():
        parts = value if isinstance(value, tuple | list) else [value]
        found += [part for part in parts if hasattr(part, "jaxpr") or hasattr(part, "eqns")]
    return found


def held_bytes(cost: RunCost, chunk: int, runtime: Runtime) -> int:
    """Bytes that a chunk of runs holds on the devices and on its way to the disk."""
    # Two chunks' records live at once: one is computed while the other is written.
    return 2 * chunk * cost.record_bytes + _at_once(chunk, runtime) * cost.work_bytes


def _at_once(chunk: int, runtime: Runtime) -> int:
    """Runs whose state is held at the same time."""
    if choose_batching(runtime.batching, runtime.platform) == "vmap":
        return chunk
    return min(chunk, len(runtime.devices))


def process_bytes() -> int:
    """Peak of this process so far, and what compiling will add."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak * (1 if sys.platform == "darwin" else 1024) + _COMPILER_BYTES)


def choose_chunk(runs: int, cost: RunCost, runtime: Runtime, chunk_runs: int | None = None) -> int:
    """Runs computed together: as memory allows, on CPU in pieces of about a second a device.

    At most `chunk_runs` where that is given.

    Raises:
        InputError: if not even one run a device fits.
    """
    n_devices = len(runtime.devices)
    if held_bytes(cost, 1, runtime) > runtime.memory_bytes:
        raise InputError(
            f"One run takes {held_bytes(cost, 1, runtime) / 2**30:.2g} GiB (records twice over "
            f"{2 * cost.record_bytes / 2**30:.2g}, weights and fields "
            f"{cost.work_bytes / 2**30:.2g}), but runtime.memory_gb allows "
            f"{runtime.memory_bytes / 2**30:.2g}; record less, or less often, or raise it."
        )
    most = _largest(runs, cost, runtime)
    if runtime.platform == "cpu":
        most = min(most, max(n_devices, int(_CHUNK_FLOPS * n_devices / max(cost.flops, 1.0))))
    most = min(most, chunk_runs or most)
    n_chunks = math.ceil(runs / max(1, min(most, runs)))
    even = math.ceil(runs / n_chunks)
    whole = math.ceil(even / n_devices) * n_devices
    return whole if even >= n_devices and whole <= max(most, n_devices) else min(even, most)


def _largest(runs: int, cost: RunCost, runtime: Runtime) -> int:
    """Most runs in a chunk that the memory holds, a multiple of the devices where it can be."""
    n_devices = len(runtime.devices)
    one = held_bytes(cost, 2, runtime) - held_bytes(cost, 1, runtime)
    if choose_batching(runtime.batching, runtime.platform) == "vmap":
        most = runtime.memory_bytes // max(one, 1)
    else:
        room = runtime.memory_bytes - n_devices * cost.work_bytes
        most = max(room, 0) // max(2 * cost.record_bytes, 1)
    return max(1, most - most % n_devices if most >= n_devices else most)
