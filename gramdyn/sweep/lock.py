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
from gramdyn.sweep.clock import now

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
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for writing inside the block.

    Raises:
        InputError: if another process holds it, named by pid, host and since when; or if the
            folder cannot be written.
    """
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be written: {error.strerror}.") from None
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


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


def _take(descriptor: int, folder: Path) -> None:
    try:
        free = _try(descriptor)
        if free and _is_still(descriptor, folder):
            _write_owner(descriptor)
            return
    except OSError as error:
        raise InputError(f"Folder {folder} cannot be locked: {error.strerror}.") from None
    holder = _read_owner(descriptor)
    raise InputError(f"Folder {folder} is being written by {holder}; wait for it, or stop it.")


def _try(descriptor: int) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _is_still(descriptor: int, folder: Path) -> bool:
    """Whether the file locked is the folder's still: it may have been set aside meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder / NAME))
    except FileNotFoundError:
        return False


def _write_owner(descriptor: int) -> None:
    owner = Owner(os.getpid(), socket.gethostname(), now())
    text = json.dumps(asdict(owner)).encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))


def _read_owner(descriptor: int) -> Owner:
    try:
        return Owner(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return Owner(0, "unknown", "a moment ago")  # it has the lock and is about to say so
