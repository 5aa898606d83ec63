"""Reading manifest.json, and telling one that is no whole manifest; light, as `status` needs it."""

import math
from pathlib import Path
from typing import Any

from gramdyn._errors import InputError
from gramdyn.store.files import read_json

NAME = "manifest.json"
_KEYS = {
    **{"gramdyn": str, "code": str, "config": dict, "versions": dict, "device": dict},
    **{"groups": list, "finished": str | None},
}
_GROUP_KEYS = {"name": str, "runs": int, "chunk": int, "run_flops": int | float}


def read_manifest(folder: str | Path, advice: str = "") -> dict[str, Any]:
    """The manifest of a run folder: a mapping with every key that a reader goes by.

    Args:
        folder: The folder.
        advice: What to do about a damaged one, to end its error with.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    try:
        found = read_json(Path(folder) / NAME)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"Folder {folder} must be one that `gramdyn run` wrote, but has no manifest."
        ) from None
    except OSError as error:
        problem: str | None = f"cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        problem = "is not JSON"
    else:
        problem = _problem(found)
        if problem is None:
            manifest: dict[str, Any] = found
            return manifest
    raise InputError(f"Folder {folder} is damaged: {NAME} {problem}{advice}.")


def _problem(found: Any) -> str | None:
    """The first thing wrong with a manifest."""
    if not isinstance(found, dict):
        return "holds no manifest"
    for key, kind in _KEYS.items():
        if not _is(found.get(key, ...), kind):
            return f"has no sound `{key}`"
    if not _is(found["config"].get("runtime", {}), dict):
        return "has no sound `config`"
    if not found["groups"] or not all(map(_is_group, found["groups"])):
        return "has no sound `groups`"
    return None


def _is_group(group: Any) -> bool:
    if not isinstance(group, dict):
        return False
    typed = all(_is(group.get(key, ...), kind) for key, kind in _GROUP_KEYS.items())
    return typed and min(group["runs"], group["chunk"]) > 0 and 0 <= group["run_flops"] < math.inf


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind; true and false are no numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)
