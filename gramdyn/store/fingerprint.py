"""What computes, as one number: two processes with one fingerprint give the same results."""

import hashlib
from functools import cache
from pathlib import Path

# Parts of the package that results go through: not pictures, claims, the terminal.
_PARTS = (
    *("kernels", "models", "data", "systems", "dynamics", "diagnostics"),
    *("plan", "store", "sweep"),
)


@cache
def code_digest() -> str:
    """sha256 over the names and contents of the computing source files, as they are on disk.

    So edits that are not committed count, and an installation without git has one too. Read once
    in a process, as the code itself is.
    """
    home = Path(__file__).resolve().parents[1]
    paths = [path for part in _PARTS for path in (home / part).rglob("*.py")]
    found = hashlib.sha256()
    for path in sorted([*paths, *home.glob("_*.py")]):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(home).as_posix()} {content}\n".encode())
    return found.hexdigest()
