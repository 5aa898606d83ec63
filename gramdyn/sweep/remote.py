"""One chunk as an order to another process, and what that process does with it.

An order is text and numbers, its outcome counts: arrays go from the worker straight to the folder.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from gramdyn._errors import InputError
from gramdyn._process import use_all_cores, use_compile_cache
from gramdyn.plan.config import Config, digest_of
from gramdyn.plan.plan import Group, Plan, make_plan
from gramdyn.store.difference import differences
from gramdyn.store.lock import NAME
from gramdyn.store.manifest import make_manifest
from gramdyn.store.store import Store
from gramdyn.store.whole import read_manifest
from gramdyn.sweep.compute import compile_group, count_failed, fetch_chunk, start_chunk

_PROGRAMS = 4  # compiled programs a worker keeps


@dataclass(frozen=True)
class Order:
    """One chunk to be computed.

    Attributes:
        config: The resolved configuration, as JSON.
        folder: Run folder, at the same path on every machine.
        holder: What the folder's lock said when the order was given.
        group: Name of the group.
        start: Index of the chunk's first run.
    """

    config: str
    folder: str
    holder: str
    group: str
    start: int

    @property
    def key(self) -> str:
        """A name for the order, the same whenever the same chunk of the same folder is meant."""
        return f"chunk-{digest_of([self.config, self.folder, self.group, self.start])[:32]}"


@dataclass(frozen=True)
class Outcome:
    """What came of an order.

    Attributes:
        runs: Runs of the chunk.
        failed: Those whose status is not ok.
        programs: Programs compiled for it, 0 or 1.
        compile_seconds: Seconds that took.
        refused: Why this process must not compute it, if so.
    """

    runs: int = 0
    failed: int = 0
    programs: int = 0
    compile_seconds: float = 0.0
    refused: str | None = None


def make_orders(plan: Plan, folder: Path) -> Callable[[str, int], Order]:
    """From group and start to orders, for a folder whose lock this process holds."""
    config = json.dumps(plan.config.resolved())
    return partial(Order, config, str(folder.resolve()), _holder(folder))


def compute_chunk(order: Order) -> Outcome:
    """Compute a chunk and write it, unless it is there already.

    What is wrong with the process itself, not with the chunk, is told as `refused`.
    """
    try:
        plan = _agreed(order.config, order.folder)
    except InputError as error:
        reason = " ".join(str(error).split())
        print(f"gramdyn: this worker cannot take part: {reason}", file=sys.stderr, flush=True)
        return Outcome(refused=reason)
    group = next(group for group in plan.groups if group.name == order.group)
    store = Store(Path(order.folder))
    there = store.facts(group, order.start)
    # A worker may have died between the marker and the answer.
    return Outcome(there["runs"], there["failed"]) if there else _compute(order, group, plan, store)


def _compute(order: Order, group: Group, plan: Plan, store: Store) -> Outcome:
    begun, known = time.perf_counter(), _program.cache_info().misses
    program = _program(order.config, group.name)
    seconds, fresh = time.perf_counter() - begun, _program.cache_info().misses - known
    arrays = fetch_chunk(start_chunk(program, group, plan, order.start), group, order.start)
    failed = count_failed(arrays)
    _check_holder(order)
    store.write(group, order.start, arrays, {"failed": failed})
    return Outcome(group.runs_from(order.start), failed, fresh, seconds if fresh else 0.0)


def _check_holder(order: Order) -> None:
    """Refuse to write for a driver that is gone, into a folder that another one has taken."""
    if _holder(Path(order.folder)) != order.holder:
        raise InputError(f"Folder {order.folder} is another process's by now.")


def _holder(folder: Path) -> str:
    return (folder / NAME).read_text()


@cache
def _settle() -> None:
    """Settings of JAX, before it starts in this process."""
    use_all_cores()
    use_compile_cache()


@lru_cache(maxsize=2)
def _agreed(config: str, folder: str) -> Plan:
    """The plan made here.

    Raises:
        InputError: where it is not the sweep that the folder is for.
    """
    there = read_manifest(folder)
    plan = _plan(config)
    found = differences(there, make_manifest(plan))
    if found:
        raise InputError(f"it would compute another sweep: {'; '.join(found)}")
    return plan


@lru_cache(maxsize=2)
def _plan(config: str) -> Plan:
    _settle()
    return make_plan(Config.model_validate(json.loads(config)))


@lru_cache(maxsize=_PROGRAMS)
def _program(config: str, name: str) -> Any:
    plan = _plan(config)
    return compile_group(next(group for group in plan.groups if group.name == name), plan)
