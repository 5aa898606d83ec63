"""One chunk as an order to another process, and what that process does with it.

An order is text and numbers, its outcome counts: arrays go from the worker straight to the folder.
"""

import json
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from gramdyn._errors import InputError
from gramdyn.sweep.compute import compile_group, count_failed, fetch_chunk, start_chunk
from gramdyn.sweep.config import Config, digest_of
from gramdyn.sweep.manifest import make_manifest
from gramdyn.sweep.plan import Group, Plan, make_plan
from gramdyn.sweep.runtime import use_all_cores, use_compile_cache
from gramdyn.sweep.store import Store

# Of the manifest: what must be the same wherever a sweep is computed.
_SAME = ("digest", "gramdyn", "commit", "versions", "device")
_PROGRAMS = 4  # compiled programs a worker keeps


@dataclass(frozen=True)
class Order:
    """One chunk to be computed.

    Attributes:
        config: The resolved configuration, as JSON.
        facts: What must be the same here as where the order was made.
        folder: Run folder, at the same path on every machine.
        group: Name of the group.
        start: Index of the chunk's first run.
    """

    config: str
    facts: dict[str, Any]
    folder: str
    group: str
    start: int

    @property
    def key(self) -> str:
        """A name for the order, the same whenever the same chunk of the same folder is meant."""
        words = (self.facts["digest"], self.folder, self.group, self.start)
        return f"chunk-{digest_of(words)[:32]}"


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


def facts_of(plan: Plan) -> dict[str, Any]:
    """What two processes must agree on to compute for one folder, its groups left out."""
    manifest = make_manifest(plan)
    return {name: manifest[name] for name in _SAME}


def make_order(plan: Plan, facts: dict[str, Any], folder: Path, group: Group, start: int) -> Order:
    """The order of a chunk; `facts` are the plan's."""
    config = json.dumps(plan.config.resolved())
    return Order(config, {**facts, **_shape(group)}, str(folder.resolve()), group.name, start)


def _shape(group: Group) -> dict[str, Any]:
    return {"group": group.name, "runs": len(group.jobs), "chunk": group.chunk}


def compute_chunk(order: Order) -> Outcome:
    """Compute a chunk and write it, unless it is there already.

    What is wrong with the process itself, not with the chunk, is told as `refused`.
    """
    try:
        group, plan = _agreed(order)
    except InputError as error:
        return Outcome(refused=" ".join(str(error).split()))
    store = Store(Path(order.folder))
    there = store.facts(group, order.start)
    # A worker may have died between the marker and the answer.
    return _counts(there) if there else _compute(order, group, plan, store)


def _compute(order: Order, group: Group, plan: Plan, store: Store) -> Outcome:
    begun, known = time.perf_counter(), _program.cache_info().misses
    program = _program(order.config, group.name)
    seconds, fresh = time.perf_counter() - begun, _program.cache_info().misses - known
    arrays = fetch_chunk(start_chunk(program, group, plan, order.start), group, order.start)
    failed = count_failed(arrays)
    store.write(group, order.start, arrays, {"failed": failed})
    return Outcome(group.runs_from(order.start), failed, fresh, seconds if fresh else 0.0)


def _counts(marker: dict[str, Any]) -> Outcome:
    return Outcome(int(marker["runs"]), int(marker.get("failed", 0)))


def _agreed(order: Order) -> tuple[Group, Plan]:
    """The order's group as planned here.

    Raises:
        InputError: where the folder is not there, or the plan made here is another.
    """
    if not (Path(order.folder) / "manifest.json").exists():
        raise InputError(f"folder {order.folder} must be at the same path here, but is not there")
    _settle()
    plan, facts = _plan(order.config)
    group = next((g for g in plan.groups if g.name == order.group), None)
    found = {**facts, **(_shape(group) if group else {"group": None})}
    for name, mine in found.items():
        if mine != order.facts[name]:
            raise InputError(f"its {name} is {mine}, but must be {order.facts[name]}")
    assert group is not None
    return group, plan


@cache
def _settle() -> None:
    """Settings of JAX, before it starts in this process."""
    use_all_cores()
    use_compile_cache()


@lru_cache(maxsize=2)
def _plan(config: str) -> tuple[Plan, dict[str, Any]]:
    """The plan made here, and its facts."""
    plan = make_plan(Config.model_validate(json.loads(config)))
    return plan, facts_of(plan)


@lru_cache(maxsize=_PROGRAMS)
def _program(config: str, name: str) -> Any:
    plan, _ = _plan(config)
    return compile_group(next(g for g in plan.groups if g.name == name), plan)
