"""How much memory a sweep takes, told before it runs, and how many runs go at once.

What a program holds beside its results is estimated from its trace: the bytes alive at the worst
moment if each result lived from the operation that makes it to the last that reads it. XLA fuses
some of them away, and copies others. Measured on CPU over programs of many kinds, what they hold
by XLA's own account is 0.5 to 1.2 times the estimate.
"""

import math
import resource
import sys
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gramdyn._errors import InputError
from gramdyn.plan.runtime import Runtime

# Operations a device is given at a time on CPU: about a second, so that progress shows and a lost
# chunk costs little. Accelerators get as many runs as memory holds.
_CHUNK_FLOPS = 1e11
# Drawing random bits is one operation in a trace and a loop of many in a program, which holds 4 to
# 7 times the bits (measured on CPU).
_DRAW = 6
# What compiling adds to the process, in bytes; measured 31 to 88 MB for one to six programs.
_COMPILER_BYTES = 80e6
# Largest file of an array, in bytes: one of more helps no reader. The store makes such files, a
# copy and a compression at a time, and a chunk is chosen by what that takes.
FILE_BYTES = 64 * 2**20
_COPIES_OF_A_FILE = 3


@dataclass(frozen=True)
class RunCost:
    """What one run costs.

    Attributes:
        flops: Operations of its training.
        record_bytes: Bytes of its records.
        work_bytes: Bytes it holds while it runs, estimated, its records among them: they are
            made inside the loop and copied out.
        shared_bytes: Bytes of what all runs of its group share, held once a device.
        batching: Whether runs go one after the other, "map", or in lockstep, "vmap".
    """

    flops: float
    record_bytes: int
    work_bytes: int
    shared_bytes: int = 0
    batching: str = "map"


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
        peak = max(peak, now + max(0, inner - outside - sum(made.values())) + _unseen(eqn))
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


def _unseen(eqn: Any) -> int:
    """Bytes that a program holds for an operation and the trace does not show."""
    sizes = [_size(var) for var in eqn.outvars]
    if eqn.primitive.name == "random_bits":
        return (_DRAW - 1) * sum(sizes)
    # What a loop carries is copied into it; what it collects has an axis that its body's has not.
    if eqn.primitive.name == "scan":
        bodies = [getattr(part, "jaxpr", part) for part in _inner(eqn)]
        pairs = zip(sizes, eqn.outvars, bodies[0].outvars, strict=True)
        return sum(size for size, var, own in pairs if var.aval.shape == own.aval.shape)
    return sum(sizes) if eqn.primitive.name == "while" else 0


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
    records = 2 * chunk * cost.record_bytes + _writing_bytes(chunk * cost.record_bytes)
    shared = len(runtime.devices) * cost.shared_bytes
    return records + shared + _at_once(chunk, cost, runtime) * cost.work_bytes


def _writing_bytes(chunk_bytes: int) -> int:
    """Bytes of a file on its way to the disk, and of its copies."""
    return _COPIES_OF_A_FILE * min(chunk_bytes, FILE_BYTES)


def _at_once(chunk: int, cost: RunCost, runtime: Runtime) -> int:
    """Runs whose state is held at the same time."""
    if cost.batching == "vmap":
        return chunk
    return min(chunk, len(runtime.devices))


def process_bytes() -> int:
    """Peak of this process so far, and what compiling will add."""
    return int(_peak_bytes() + _COMPILER_BYTES)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says is inherited from the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def choose_chunk(runs: int, cost: RunCost, runtime: Runtime, chunk_runs: int | None = None) -> int:
    """Runs computed together: as memory allows, on CPU in pieces of about a second a device.

    At most `chunk_runs` where that is given.

    Raises:
        InputError: if not even one run a device fits.
    """
    n_devices = len(runtime.devices)
    if held_bytes(cost, 1, runtime) > runtime.memory_bytes:
        raise InputError(
            f"One run takes {held_bytes(cost, 1, runtime) / 2**30:.2g} GiB with its records "
            f"({cost.record_bytes / 2**30:.2g}, several times over), weights and fields "
            f"({cost.work_bytes / 2**30:.2g}) and data, but runtime.memory_gb allows "
            f"{runtime.memory_bytes / 2**30:.2g}; record less, or less often, or raise it."
        )
    most = _largest(runs, cost, runtime)
    if runtime.platform == "cpu":
        most = min(most, max(n_devices, int(_CHUNK_FLOPS * n_devices / max(cost.flops, 1.0))))
    most = min(most, chunk_runs or most)
    if most > n_devices:
        most -= most % n_devices  # a chunk that cannot be split evenly runs on one device
    even = math.ceil(runs / math.ceil(runs / most))
    return math.ceil(even / n_devices) * n_devices if most >= n_devices else most


def _largest(runs: int, cost: RunCost, runtime: Runtime) -> int:
    """Most runs in a chunk that the memory holds."""
    held = lambda chunk: held_bytes(cost, chunk, runtime)  # noqa: E731
    return bisect_right(range(1, runs + 1), runtime.memory_bytes, key=held)
