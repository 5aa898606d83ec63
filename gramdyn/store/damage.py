"""Finding what a disk lost: files of a run folder that are missing, truncated or altered.

FOLDER/layout.json holds size and sha256 of the metadata and coordinates, each marker those of its
chunk's files.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gramdyn._errors import InputError
from gramdyn.store.files import has_size, is_file_of, read_json
from gramdyn.store.markers import read_markers

ARRAYS = "results.zarr"
LAYOUT = "layout.json"


def is_sound(node: Path, marker: dict[str, Any], files: Collection[str]) -> bool:
    """Whether a chunk is as its marker says: these files, each of its size and sha256."""
    noted = marker["files"]
    if noted.keys() != set(files):
        return False
    sizes = all(has_size(node / name, digest[0]) for name, digest in noted.items())
    return sizes and all(is_file_of(node / name, digest) for name, digest in noted.items())


def check_sizes(folder: Path) -> None:
    """Refuse a folder with a file missing or truncated: zarr would read NaN in its place.

    Raises:
        InputError: naming group and array.
    """
    _refuse(folder, _first(folder, lambda path, digest: not has_size(path, digest[0])))


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Tell an error inside the block by the damaged file that caused it, if there is one.

    Raises:
        InputError: naming group and array.
    """
    try:
        yield
    except InputError:
        raise
    except Exception:
        _refuse(folder, _first(folder, lambda path, digest: not is_file_of(path, digest)))
        raise


def _refuse(folder: Path, name: str | None) -> None:
    if name is None:
        return
    parts = name.split("/")
    what = f"array `{parts[1]}` of group `{parts[0]}`" if len(parts) > 2 else "the results"
    raise InputError(
        f"Folder {folder} is damaged: {what}, file {ARRAYS}/{name}; "
        "the `gramdyn run` command that made it repairs it."
    ) from None


def _first(folder: Path, is_bad: Callable[[Path, list[Any]], bool]) -> str | None:
    """The first bad file of metadata, coordinates and finished chunks, by path in the arrays."""
    for name, digest in _noted(folder):
        if is_bad(folder / ARRAYS / name, digest):
            return name
    return None


def _noted(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    layout: Mapping[str, list[Any]] = _read_layout(folder)
    yield from layout.items()
    for group, markers in read_markers(folder).items():
        for marker in markers.values():
            if marker is not None:
                yield from ((f"{group}/{name}", one) for name, one in marker["files"].items())


def _read_layout(folder: Path) -> dict[str, list[Any]]:
    try:
        found = read_json(folder / LAYOUT)
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(map(_is_digest, found.values())):
        raise InputError(
            f"Folder {folder} is damaged: file {LAYOUT}; "
            "the `gramdyn run` command that made it repairs it."
        )
    return found


def _is_digest(value: Any) -> bool:
    """Whether a value is a size and a sha256."""
    return isinstance(value, list) and [type(part) for part in value] == [int, str]
