"""How a sweep stands, from its folder alone: nothing is computed, no array is opened, no JAX."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gramdyn.store.clock import seconds_of
from gramdyn.store.lock import Owner, owner_of
from gramdyn.store.markers import read_markers
from gramdyn.store.whole import read_manifest

# Chunks over which speed is taken: enough to even out, few enough to see a change.
_RECENT = 20


@dataclass(frozen=True)
class GroupState:
    """Runs of a group: how many there are to be, are stored, and failed."""

    name: str
    total: int
    done: int
    failed: int


@dataclass(frozen=True)
class SweepState:
    """How a sweep stands.

    Attributes:
        state: "running", "stopped" or "finished".
        owner: Who runs it, if it runs.
        groups: Its groups, in order.
        unreadable: Markers that are broken; their chunks will be computed again.
        last: When the last chunk was written, None without any.
        speed: Runs a second over the last chunks, None where too few are there.
        seconds_left: At that speed, a group's run weighed by its operations; None if not running.
    """

    state: Literal["running", "stopped", "finished"]
    owner: Owner | None
    groups: tuple[GroupState, ...]
    unreadable: int
    last: str | None
    speed: float | None
    seconds_left: float | None

    @property
    def total(self) -> int:
        """Runs of the sweep."""
        return sum(group.total for group in self.groups)

    @property
    def done(self) -> int:
        """Runs that are stored; whether their files are sound is seen when the sweep goes on."""
        return sum(group.done for group in self.groups)

    @property
    def failed(self) -> int:
        """Of those, runs whose status is not ok."""
        return sum(group.failed for group in self.groups)


def read_state(folder: str | Path) -> SweepState:
    """How the sweep in a folder stands: in flight, stopped or finished.

    Raises:
        InputError: if the folder holds none, or its manifest is damaged.
    """
    path = Path(folder).resolve()
    told = read_manifest(path)["groups"]
    markers, owner = read_markers(path), owner_of(path)
    groups = tuple(_state_of(group, markers.get(group["name"], {})) for group in told)
    chunks = _chunks(told, markers)
    finished = all(group.done >= group.total for group in groups)
    speeds = _speeds(chunks, _begun(owner))
    return SweepState(
        state="running" if owner else "finished" if finished else "stopped",
        owner=owner,
        groups=groups,
        unreadable=sum(m is None for found in markers.values() for m in found.values()),
        last=chunks[-1].written if chunks else None,
        speed=speeds[0] if speeds else None,
        seconds_left=_flops_left(told, groups) / speeds[1] if speeds and owner else None,
    )


@dataclass(frozen=True)
class _Chunk:
    written: str
    runs: int
    flops: float


def _begun(owner: Owner | None) -> float:
    """When the sweep was taken up; later than any chunk where its owner has not said so yet."""
    try:
        return seconds_of(owner.since) if owner else -math.inf
    except ValueError:
        return math.inf


def _state_of(group: dict[str, Any], markers: dict[int, dict[str, Any] | None]) -> GroupState:
    there = [marker for marker in markers.values() if marker]
    done, failed = (sum(marker[key] for marker in there) for key in ("runs", "failed"))
    return GroupState(group["name"], group["runs"], done, failed)


def _chunks(
    groups: list[dict[str, Any]], markers: dict[str, dict[int, dict[str, Any] | None]]
) -> list[_Chunk]:
    """Finished chunks in the order they were written."""
    found = [
        _Chunk(marker["written"], marker["runs"], marker["runs"] * group["run_flops"])
        for group in groups
        for marker in markers.get(group["name"], {}).values()
        if marker
    ]
    return sorted(found, key=lambda chunk: seconds_of(chunk.written))


def _speeds(chunks: Sequence[_Chunk], since: float) -> tuple[float, float] | None:
    """Runs and operations a second over the last chunks written since then."""
    recent = [chunk for chunk in chunks if seconds_of(chunk.written) >= since][-_RECENT:]
    if len(recent) < 2:
        return None
    spent = seconds_of(recent[-1].written) - seconds_of(recent[0].written)
    spent = max(spent, 1e-3)  # the first chunk only starts the clock
    return sum(c.runs for c in recent[1:]) / spent, sum(c.flops for c in recent[1:]) / spent


def _flops_left(told: list[dict[str, Any]], groups: Sequence[GroupState]) -> float:
    return sum(
        group["run_flops"] * (state.total - state.done)
        for group, state in zip(told, groups, strict=True)
    )
