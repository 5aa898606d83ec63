"""What a run folder says of itself: configuration, code, versions, devices."""

import hashlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gramdyn._version import __version__
from gramdyn.plan.plan import Group, Plan
from gramdyn.store.clock import now
from gramdyn.store.fingerprint import code_digest

_LIBRARIES = ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy", "zarr", "xarray")


def make_manifest(plan: Plan) -> dict[str, Any]:
    """The manifest of a sweep about to run, as plain data."""
    return {
        "gramdyn": __version__,
        "code": code_digest(),
        "commit": commit(),
        "digest": plan.config.digest(),
        "config": plan.config.resolved(),
        "versions": versions(),
        "device": describe_devices(plan),
        "precision": plan.runtime.dtype,
        "matmul_precision": "highest",
        "started": now(),
        "finished": None,
        "groups": [_group(group) for group in plan.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "runs": len(group.jobs),
        "chunk": group.chunk,
        "coordinates": group.coordinates,
        "run_flops": group.run_flops,
        "run_bytes": group.run_bytes,
        "data": _data_digest(group),
        "tasks": [{"name": task.name, **dict(task.notes)} for task in group.tasks],
    }


def _data_digest(group: Group) -> str:
    """sha256 over inputs and targets: a task's code, or a file it reads, may have changed."""
    found = hashlib.sha256()
    for task in group.tasks:
        found.update(np.asarray(task.inputs).tobytes())
        found.update(np.asarray(task.targets).tobytes())
    return found.hexdigest()


def describe_devices(plan: Plan) -> dict[str, Any]:
    """Platform, kind and number of the devices."""
    first = plan.runtime.devices[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": len(plan.runtime.devices),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of what computes and stores."""
    return {"python": sys.version.split()[0], **{name: version(name) for name in _LIBRARIES}}


def commit() -> str | None:
    """Commit of the package's own checkout, with `+` where changed since; None without one."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return None
    head = _git(home, "rev-parse", "HEAD")
    return head and head + ("+" if _git(home, "status", "--porcelain", "--", "gramdyn") else "")


def _git(home: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(home), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
