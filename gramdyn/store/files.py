"""Small files written so that a reader sees the old content or the new, never half of it."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write beside the target, flush to disk, then rename into place."""
    beside = beside_of(path)
    try:
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)  # on a full disk its bytes are missed
        raise


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON, atomically."""
    write_atomic(path, json_text(data))


def json_text(data: Any) -> str:
    """Data as indented JSON."""
    return json.dumps(data, indent=1) + "\n"


def read_json(path: Path) -> Any:
    """Data of a JSON file."""
    return json.loads(path.read_text())


def digest_of_bytes(data: bytes) -> list[Any]:
    """Size and sha256 of bytes, as a file of them has."""
    return [len(data), hashlib.sha256(data).hexdigest()]


def digest_of_file(path: Path) -> list[Any]:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return [file.tell(), digest]


def has_size(path: Path, size: int) -> bool:
    """Whether a file is there and of this size; a directory is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a name may be damaged, too
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def is_file_of(path: Path, digest: list[Any]) -> bool:
    """Whether a file is there, can be read, and has this size and sha256."""
    try:
        return has_size(path, digest[0]) and digest_of_file(path) == digest
    except OSError:
        return False


def beside_of(path: Path) -> Path:
    """Where this process builds what will be `path`: `.NAME.PID.tmp` in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def leftovers(folder: Path, name: str = "*") -> Iterable[Path]:
    """What dead processes left where they built what was to be `folder/name`."""
    if not folder.is_dir():
        return
    for path in folder.glob(f".{name}.*.tmp"):
        pid = path.name.removesuffix(".tmp").rpartition(".")[2]
        if pid.isdigit() and not _is_other_alive(int(pid)):
            yield path


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clear_way(path: Path, root: Path) -> None:
    """Make way for a file below a root: its folders made, what stands in their place removed.

    A link is left alone: what it leads to may only be out of reach for now.
    """
    for above in reversed([root / parent for parent in path.relative_to(root).parents]):
        if above.is_file() and not above.is_symlink():
            remove(above)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        remove(path)


def _is_other_alive(pid: int) -> bool:
    """Whether another process of this number runs; in containers a dead one often had ours."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it runs, as another user
    return True
