"""Markers: one small file a finished chunk, which says what it holds.

    FOLDER/done/GROUP-START.json
        {"runs", "failed", "written", "files": {path: [size, sha256]}, "sha256": of all this}

A chunk counts as done when its marker is there, is as it was written, and its files are as it says.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from gramdyn.store.files import read_json

FOLDER = "done"
_KEYS = {"runs", "failed", "written", "files"}
_SEAL = "sha256"


def marker_path(folder: Path, group: str, start: int) -> Path:
    """The marker of the chunk of a group that starts at this run."""
    return folder / FOLDER / f"{group}-{start}.json"


def sealed(marker: dict[str, Any]) -> dict[str, Any]:
    """A marker with the sha256 of its content, by which `read_marker` knows it unaltered."""
    return {**marker, _SEAL: _seal_of(marker)}


def read_marker(path: Path) -> dict[str, Any] | None:
    """What a marker says; None if it is not there or altered in any way."""
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.keys() >= _KEYS:
        return None
    seal = found.pop(_SEAL, None)
    return found if seal == _seal_of(found) else None


def _seal_of(marker: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(marker, sort_keys=True).encode()).hexdigest()


def read_markers(folder: Path) -> dict[str, dict[int, dict[str, Any] | None]]:
    """Every marker of a run folder by group and first run; None for an altered one."""
    found: dict[str, dict[int, dict[str, Any] | None]] = {}
    for path in (folder / FOLDER).glob("[!.]*.json"):
        group, _, start = path.stem.rpartition("-")
        if start.isdecimal():
            found.setdefault(group, {})[int(start)] = read_marker(path)
    return found


def count_runs(folder: Path) -> dict[str, int]:
    """Runs that are stored, and how many of them failed."""
    markers = [m for group in read_markers(folder).values() for m in group.values() if m]
    return {"runs": sum(m["runs"] for m in markers), "failed": sum(m["failed"] for m in markers)}
