"""One writing process a run folder, by a lock that the kernel drops when its holder dies.

The lock is `flock` on FOLDER/lock; what stands in the file only says whom to ask. Readers need no
lock: every file of a run folder is replaced whole.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from gramdyn._errors import InputError
from gramdyn.store.clock import now

NAME = "lock"
# `owner_of` holds the lock for an instant to see whether it is free; a writer waits that out.
_TRIES, _PAUSE = 5, 0.05


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        pid: Its process.
        host: Its machine.
        since: When it took the lock.
    """

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def locked(folder: Path, told: Path | None = None) -> Iterator[None]:
    """Hold the folder for writing inside the block.

    Args:
        folder: The folder, which is there.
        told: How it is called in errors, if otherwise.

    Raises:
        InputError: if another process holds it, named by pid, host and since when; or if the
            folder cannot be written.
    """
    path = folder / NAME
    with _errors_told(told or folder):
        # Only read from here on, so that the disk may be made read-only under a sweep.
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        with _errors_told(told or folder):
            _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _errors_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except IsADirectoryError:
        raise InputError(
            f"Folder {folder} cannot be written: its `{NAME}` is a directory; remove that."
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Folder {folder} cannot be written: {reason}.") from None


def owner_of(folder: Path) -> Owner | None:
    """Who holds the folder for writing; None if nobody does."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_owner(descriptor)
    except OSError:
        return None  # a file system without locks
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int, path: Path) -> None:
    if _try(descriptor) and _is_still(descriptor, path):
        _write_owner(path)
        return
    holder = _read_owner(descriptor)
    raise InputError(f"Folder {path.parent} is being written by {holder}; wait for it, or stop it.")


def _try(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file locked is the folder's still: it may have been set aside meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write_owner(path: Path) -> None:
    owner = Owner(os.getpid(), socket.gethostname(), now())
    text = json.dumps(asdict(owner))
    with path.open("r+") as file:  # in place: another file would have another lock
        file.write(text)
        file.truncate()


def _read_owner(descriptor: int) -> Owner:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return Owner(int(found["pid"]), str(found["host"]), str(found["since"]))
    except (ValueError, TypeError, KeyError, OSError):
        return Owner(0, "unknown", "a moment ago")  # it has the lock and is about to say so
