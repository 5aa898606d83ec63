"""Small files written so that a reader sees the old content or the new, never half of it."""

import json
import os
from pathlib import Path
from typing import Any


def write_atomic(path: Path, text: str) -> None:
    """Write beside the target, flush to disk, then rename into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON, atomically."""
    write_atomic(path, json.dumps(data, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Data of a JSON file."""
    return json.loads(path.read_text())
