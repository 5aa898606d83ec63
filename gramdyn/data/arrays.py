"""Tasks from the user's own arrays in a file."""

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gramdyn._checks import check
from gramdyn._errors import InputError
from gramdyn.data.task import Task, make_task


def arrays(
    path: str | os.PathLike[str],
    *,
    inputs: str = "inputs",
    targets: str = "targets",
    labels: str | None = None,
    heldout_inputs: str | None = None,
    heldout_targets: str | None = None,
) -> Task:
    """Task from a file that `numpy.savez` wrote; the numbers are taken as they are.

    Args:
        path: File ending in `.npz`.
        inputs: Name of the array of inputs in the file, shape (n, d).
        targets: Name of the array of targets, shape (n, C) or (n,).
        labels: Name of the array of class indices, shape (n,), or None if there is none.
        heldout_inputs: Name of the inputs of samples that are not trained on, or None.
        heldout_targets: Name of their targets; goes with `heldout_inputs`.

    Returns:
        Task whose notes hold the file's path and SHA-256.

    Raises:
        InputError: No such file, not an `.npz` file, an array missing, or arrays that `make_task`
            refuses.
    """
    path = _check_file(path)
    both = (heldout_inputs is None) == (heldout_targets is None)
    check(both, "heldout_targets", "be given with heldout_inputs, and only so", heldout_targets)
    wanted = {"inputs": inputs, "targets": targets, "labels": labels}
    wanted |= {"heldout_inputs": heldout_inputs, "heldout_targets": heldout_targets}
    names = {role: name for role, name in wanted.items() if name is not None}
    notes = (("path", str(path)), ("sha256", hashlib.sha256(path.read_bytes()).hexdigest()))
    stored = _read(path, names)
    held_out = None
    if heldout_inputs is not None:
        held_out = stored.pop("heldout_inputs"), stored.pop("heldout_targets")
    try:
        return make_task(**stored, name="arrays", notes=notes, held_out=held_out)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_file(path: str | os.PathLike[str]) -> Path:
    """Return the path if it is an `.npz` file."""
    path = Path(path).expanduser()
    if path.suffix != ".npz":
        raise InputError(f"{path}: must be a file that ends in .npz (numpy.savez writes it).")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is not an .npz file inside, though it is named so.")
    return path


def _read(path: Path, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Read the named arrays; never unpickle, as that can run code from the file."""
    with np.load(path, allow_pickle=False) as stored:
        for wanted in names.values():
            if wanted not in stored.files:
                present = ", ".join(stored.files) or "none"
                raise InputError(f"{path}: has no array `{wanted}`; arrays in it: {present}.")
        return {role: _read_one(path, stored, name) for role, name in names.items()}


def _read_one(path: Path, stored: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    """Read one array, and say which one cannot be read."""
    try:
        return stored[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "holds Python objects" if "allow_pickle" in str(error) else "is damaged"
        raise InputError(f"{path}: array `{name}` {reason} and cannot be read.") from error
