"""How the sweep in a folder differs from the one that is asked for, key by key."""

import json
from typing import Any

from gramdyn.plan.parts import RUNNING

_LONGEST = 60  # characters of a value that are shown
_NONE = "absent"


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Every key in which two manifests mean another sweep, as "key: this there, that now".

    Groups follow from the configuration: they are compared only where all else is the same, and
    then with the keys of `runtime` that give them their chunks.
    """
    now = json.loads(json.dumps(now))  # as it would be read back
    found = _compare(_what(there), _what(now))
    if not found:
        found = _compare(_groups(there), _groups(now))
        if found:
            found = [*_compare(_running(there), _running(now)), *found]
    return found


def _what(manifest: dict[str, Any]) -> dict[str, Any]:
    """Configuration, code, versions and device as one mapping of dotted keys."""
    config = dict(manifest.get("config", {}))
    config["runtime"] = _without(config.get("runtime", {}), RUNNING)
    rest = {key: manifest.get(key) for key in ("gramdyn", "code", "versions", "device")}
    return {**_flat(config), **_flat(rest)}


def _running(manifest: dict[str, Any]) -> dict[str, Any]:
    return _flat({"runtime": manifest.get("config", {}).get("runtime", {})})


def _groups(manifest: dict[str, Any]) -> dict[str, Any]:
    return _flat({f"group {group['name']}": group for group in manifest.get("groups", [])})


def _without(data: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in keys}


def _flat(data: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested mappings as one of dotted keys; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = f"{above}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _compare(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    keys = dict.fromkeys([*now, *there])
    return [
        f"{key}: {_told(there, key)} there, {_told(now, key)} now"
        for key in keys
        if there.get(key, _NONE) != now.get(key, _NONE)
    ]


def _told(data: dict[str, Any], key: str) -> str:
    value = data.get(key, _NONE)
    if key == "code":
        return str(value)[:12]
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
