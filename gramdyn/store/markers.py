"""Markers: one small file a finished chunk, which says what it holds.

    FOLDER/done/GROUP-START.json  {"runs", "failed", "written", "files": {path: [size, sha256]}}

A chunk counts as done when its marker is there, is readable, and its files are as it says.
"""

from pathlib import Path
from typing import Any

from gramdyn.store.files import read_json

FOLDER = "done"
_KEYS = {"runs", "failed", "written", "files"}


def marker_path(folder: Path, group: str, start: int) -> Path:
    """The marker of the chunk of a group that starts at this run."""
    return folder / FOLDER / f"{group}-{start}.json"


def read_marker(path: Path) -> dict[str, Any] | None:
    """What a marker says; None if it is not there or broken."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    good = isinstance(found, dict) and found.keys() >= _KEYS and isinstance(found["files"], dict)
    return found if good else None


def read_markers(folder: Path) -> dict[str, dict[int, dict[str, Any] | None]]:
    """Every marker of a run folder by group and first run; None for a broken one."""
    found: dict[str, dict[int, dict[str, Any] | None]] = {}
    for path in (folder / FOLDER).glob("[!.]*.json"):
        group, _, start = path.stem.rpartition("-")
        if start.isdigit():
            found.setdefault(group, {})[int(start)] = read_marker(path)
    return found


def count_runs(folder: Path) -> dict[str, int]:
    """Runs that are stored, and how many of them failed."""
    markers = [m for group in read_markers(folder).values() for m in group.values() if m]
    return {"runs": sum(m["runs"] for m in markers), "failed": sum(m["failed"] for m in markers)}
