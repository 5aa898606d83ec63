"""Run folders come into being, and go out of the way, in one step each.

A folder is built beside its place and renamed there, so that a kill at any moment leaves no folder
or a whole one.
"""

import errno
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gramdyn._errors import InputError
from gramdyn.store.files import beside_of, leftovers, remove
from gramdyn.store.lock import locked, owner_of


def make_folder(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Make a folder of these files at once; False where there is one that is not empty.

    Args:
        folder: Not there, or an empty directory.
        files: Contents by path; a path that ends in / is a directory.

    Raises:
        OSError: if it cannot be written.
        InputError: if it is a directory that cannot be replaced.
    """
    folder = folder.resolve()  # a link to an empty directory is one
    _remove_leftovers(folder)
    if folder.is_dir() and any(folder.iterdir()):
        return False
    if folder == Path.cwd() or os.path.ismount(folder):
        raise InputError(
            f"Folder {folder} must not be the one you are in, nor a mount point; "
            "name one below it with -o."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = beside_of(folder)
    try:
        beside.mkdir()
        with locked(beside, told=folder):  # who cleans up sees that it is being built
            _fill(beside, files)
            return _move(beside, folder)
    finally:
        remove(beside)


def set_aside(folder: Path) -> Path | None:
    """Rename a run folder to NAME.old-1, or the next free number; nothing is deleted.

    Returns:
        Its new path; None where there was nothing.

    Raises:
        InputError: if another process writes it, or if it is no run folder.
    """
    folder = folder.resolve()
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    if not any((folder / name).exists() for name in ("manifest.json", "results.zarr")):
        raise InputError(f"Folder {folder} holds no sweep; it is not set aside.")
    with locked(folder):
        aside = next(path for path in _asides(folder) if not path.exists())
        try:
            folder.rename(aside)
        except OSError as error:
            raise InputError(f"Folder {folder} cannot be renamed: {error.strerror}.") from None
    return aside


def _asides(folder: Path) -> Iterator[Path]:
    return (folder.with_name(f"{folder.name}.old-{n}") for n in itertools.count(1))


def _remove_leftovers(folder: Path) -> None:
    """Remove what dead processes left beside the folder and in it."""
    for path in leftovers(folder.parent, folder.name):
        if owner_of(path) is None:  # alive, though not among the processes seen from here
            remove(path)
    for home in (folder, folder / "done"):
        for path in leftovers(home):
            remove(path)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(content)


def _move(beside: Path, folder: Path) -> bool:
    """Rename into place; False where another process was first."""
    try:
        os.rename(beside, folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
