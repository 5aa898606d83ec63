"""What computes, as one number: two processes with one fingerprint give the same results."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

# Packages and files that numbers go through: not pictures, claims, the terminal, nor what keeps a
# folder whole. `arrays` says what the numbers are stored as.
_PARTS = (
    *("kernels", "models", "data", "systems", "dynamics", "diagnostics", "plan"),
    *("sweep/compute.py", "store/arrays.py"),
)


@cache
def code_digest() -> str:
    """sha256 over the names and contents of the computing source files, as they are on disk.

    So edits that are not committed count, and an installation without git has one too. Read once
    in a process, as the code itself is.
    """
    home = Path(__file__).resolve().parents[1]
    paths = [path for part in _PARTS for path in _files(home / part)]
    found = hashlib.sha256()
    for path in sorted([*paths, *home.glob("_*.py")]):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(home).as_posix()} {content}\n".encode())
    return found.hexdigest()


def _files(part: Path) -> Iterable[Path]:
    return [part] if part.suffix else part.rglob("*.py")
