"""Reading a configuration file, with every mistake told as `file:line: key: what is wrong`."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gramdyn._checks import nearest
from gramdyn._errors import ConfigError, InputError
from gramdyn.plan.config import Config, known_keys


def load_config(path: str | Path, changes: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, changed by `key=value` strings, checked whole.

    Args:
        path: YAML file.
        changes: Strings such as "network.width=256"; values are YAML.

    Raises:
        ConfigError: all mistakes at once, each with file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: cannot be read: {_reason(error)}"]) from None
    return parse_config(text, str(file), changes)


def parse_config(text: str, name: str = "<text>", changes: Sequence[str] = ()) -> Config:
    """As `load_config`, from the text itself."""
    data = _read_yaml(text, name)
    if not isinstance(data, dict):
        raise ConfigError([f"{name}: must be a mapping of keys, but is {type(data).__name__}"])
    for change in changes:
        _apply(data, change)
    try:
        config = Config.model_validate(_plain(data))
    except ValidationError as error:
        raise ConfigError(explain(error, data, name)) from None
    _check_axes(config, data, name)
    return config


def _read_yaml(text: str, name: str) -> Any:
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{name}:{line}: not YAML: {error.problem}"]) from None
    except YAMLError as error:
        raise ConfigError([f"{name}: not YAML: {' '.join(str(error).split())}"]) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _plain(data: Any) -> Any:
    """Round-trip containers and scalars as plain Python ones."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_plain(value) for value in data]
    for kind in (bool, int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data


def _apply(data: dict[str, Any], change: str) -> None:
    """Set a dotted key to a YAML value; an axis of the sweep is `sweep.KEY=...`."""
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise InputError(f"Option --set must be KEY=VALUE, but is {change!r}.")
    path = ["sweep", key.removeprefix("sweep.")] if key.startswith("sweep.") else key.split(".")
    try:
        parsed = YAML(typ="safe").load(StringIO(value))
    except YAMLError:
        raise InputError(f"Option --set must be KEY=VALUE with YAML, but is {change!r}.") from None
    set_key(data, path, parsed, change)


def set_key(data: dict[str, Any], path: Sequence[str], value: Any, told: str) -> None:
    """Set a nested key in place, making the mappings on the way."""
    for part in path[:-1]:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise InputError(f"Cannot set {told!r}: `{part}` is {inner!r}, not a mapping.")
        data = inner
    data[path[-1]] = value


def explain(error: ValidationError, data: Any, name: str) -> list[str]:
    """Each mistake of a validation as one line."""
    return [_line(dict(mistake), data, name) for mistake in error.errors()]


def _line(mistake: dict[str, Any], data: Any, name: str) -> str:
    path = _key_path(mistake, data)
    number = _line_number(data, path)
    place = f"{name}:{number}" if number else name
    return f"{place}: {'.'.join(map(str, path)) or 'file'}: {_text(mistake, path, data)}"


def _key_path(mistake: dict[str, Any], data: Any) -> list[Any]:
    """The keys a user wrote: pydantic adds names of union members, which no file has."""
    path: list[Any] = []
    for part in mistake["loc"]:
        inside = isinstance(data, dict) and part in data
        at = isinstance(data, list) and isinstance(part, int) and part < len(data)
        last = part == mistake["loc"][-1] and mistake["type"] in ("missing", "extra_forbidden")
        if inside or at or last:
            path.append(part)
            data = data[part] if inside or at else None
    where = (mistake.get("ctx") or {}).get("where")
    return [*path, *where.split(".")] if where else path


def _line_number(data: Any, path: Sequence[Any]) -> int | None:
    """Line of the deepest key of the path that the file has, 1 for the first."""
    found = None
    for part in path:
        marks = getattr(data, "lc", None)
        known = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if not known:
            break
        if marks is not None and marks.data and part in marks.data:
            found = marks.data[part][0] + 1
        data = data[part]
    return found


def _text(mistake: dict[str, Any], path: list[Any], data: Any) -> str:
    """What is wrong, what is allowed, what came."""
    kind, given = mistake["type"], mistake.get("input")
    if kind == "extra_forbidden":
        known = known_keys(path[:-1], data)
        return f"unknown key; {nearest(str(path[-1]), known)}" if known else "unknown key"
    if kind == "missing":
        return "is missing"
    message = mistake["msg"].removeprefix("Value error, ")
    if kind in ("unknown_name", "unknown_kind", "unfit", "value_error"):
        return message
    return f"{message[0].lower()}{message[1:]} (got {given!r})"


def _check_axes(config: Config, data: Any, name: str) -> None:
    """Refuse axes over keys that are not there, before any job is made."""
    whole = config.resolved()
    mistakes = []
    for key in config.sweep:
        below = [other for other in config.sweep if other.startswith(f"{key}.")]
        problem = f"overlaps axis `{below[0]}`" if below else _axis_problem(key, whole)
        if problem:
            number = _line_number(data, ["sweep", key])
            mistakes.append(f"{name}:{number or 1}: sweep.{key}: {problem}")
    if mistakes:
        raise ConfigError(mistakes)


def _axis_problem(key: str, whole: dict[str, Any]) -> str | None:
    """What is wrong with an axis over this key, if anything."""
    parts = key.split(".")
    if parts[0] in ("sweep", "runtime", "precision"):
        return f"`{parts[0]}` cannot be an axis"
    inner: Any = whole
    for part in parts:
        if not isinstance(inner, dict):
            return None  # below a value that may take another form, such as a relative step
        if part not in inner:
            return f"unknown key; {nearest(part, inner)}"
        inner = inner[part]
    return None
