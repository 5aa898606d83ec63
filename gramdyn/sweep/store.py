"""The run folder: labelled arrays, one node a group, written chunk by chunk.

    FOLDER/manifest.json      configuration, versions, devices, commit
    FOLDER/results.zarr/NAME  one node a group, arrays with a leading run axis
    FOLDER/done/NAME-START.json   a chunk of runs that is wholly there

Every array is made before the first run, full of NaN. A chunk of runs is a chunk of every array, so
writers of two chunks never touch the same file, and its marker is written after its arrays.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.dtypes import StringDType

from gramdyn._errors import InputError
from gramdyn.sweep.files import read_json, write_json
from gramdyn.sweep.manifest import make_manifest, now
from gramdyn.sweep.plan import Group, Plan

# Files far larger than this help no reader; time is split where one chunk of runs exceeds it.
_FILE_BYTES = 64 * 2**20


class Store:
    """A run folder open for writing.

    Args:
        folder: The folder; made if it is not there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.arrays = folder / "results.zarr"

    def create(self, plan: Plan) -> None:
        """Make the folder, its manifest and every array, before anything is computed.

        A folder that holds this very sweep is kept as it is, to go on from.

        Raises:
            InputError: if the folder cannot be written or holds something else.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            manifest = make_manifest(plan)
            if any(self.folder.iterdir()):
                return self._accept(manifest)
            (self.folder / "done").mkdir()
            root = zarr.open_group(self.arrays, mode="w")
            for group in plan.groups:
                _create_group(root, group)
            write_json(self.folder / "manifest.json", manifest)  # last: it says the rest is there
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"Folder {self.folder} cannot be written: {reason}.") from None

    def _accept(self, manifest: dict[str, Any]) -> None:
        """Refuse a folder that holds anything but this sweep."""
        path = self.folder / "manifest.json"
        if not path.exists():
            raise InputError(
                f"Folder {self.folder} must be empty or not there yet, but holds other files; "
                "name another with -o."
            )
        there = read_json(path)
        for name in ("digest", "gramdyn", "commit", "versions", "device", "groups"):
            if there.get(name) != manifest[name]:
                raise InputError(
                    f"Folder {self.folder} holds another sweep: its {name} is {there.get(name)}, "
                    f"but would be {manifest[name]}; name another with -o."
                )

    def missing(self, group: Group) -> list[int]:
        """First runs of the chunks that are not there yet."""
        return [start for start in group.starts if not self._marker(group, start).exists()]

    def facts(self, group: Group, start: int) -> dict[str, Any] | None:
        """What the marker of a chunk says; None where the chunk is not there yet."""
        marker = self._marker(group, start)
        return read_json(marker) if marker.exists() else None

    def _marker(self, group: Group, start: int) -> Path:
        return self.folder / "done" / f"{group.name}-{start}.json"

    def write(self, group: Group, start: int, found: dict[str, np.ndarray], facts: Any) -> None:
        """Write one chunk of runs, then its marker.

        Args:
            group: Its group.
            start: Index of its first run.
            found: Records and per-run values by name, run axis leading, padding dropped.
            facts: What the marker says beside the number of runs.
        """
        node = zarr.open_group(self.arrays / group.name, mode="r+")
        count = len(found["status"])
        for name, values in found.items():
            array = node[name]
            assert isinstance(array, zarr.Array)
            array[start : start + count] = values
        marker = {"runs": count, "written": now(), **facts}
        write_json(self._marker(group, start), marker)

    def finish(self, facts: Any) -> None:
        """Note in the manifest that every chunk is there."""
        manifest = read_json(self.folder / "manifest.json")
        write_json(self.folder / "manifest.json", {**manifest, "finished": now(), **facts})


def _create_group(root: zarr.Group, group: Group) -> None:
    node = root.create_group(group.name)
    runs = len(group.jobs)
    steps = group.record.saved_steps(group.n_steps)
    dims = group.record.dims()
    for name, shape in group.shapes.items():
        axes = ("run", "step", *_axes(name, dims, len(shape.shape) - 1))
        chunks = _chunks((runs, *shape.shape), group.chunk, shape.dtype.itemsize)
        _create(node, name, (runs, *shape.shape), shape.dtype, axes, chunks)
    for name, dtype in (("status", "int32"), ("failed_at", "int32"), ("step_size", "float64")):
        _create(node, name, (runs,), dtype, ("run",), (group.chunk,))
    labels = {axis: ((axis,), _as_array(list(x))) for axis, x in group.record.labels().items()}
    coords = {**_places(group), **_task_arrays(group), **labels, "step": (("step",), steps)}
    for name, (axes, values) in coords.items():
        _create(node, name, values.shape, values.dtype, axes, values.shape)[...] = values
    node.attrs["coordinates"] = " ".join(["status", "failed_at", "step_size", *coords])


def _axes(name: str, dims: dict[str, tuple[str, ...]], count: int) -> tuple[str, ...]:
    """Names of a record's axes; numbered where its diagnostic does not say."""
    known = dims.get(name)
    return known if known is not None else tuple(f"{name}_{i}" for i in range(count))


def _chunks(shape: tuple[int, ...], runs: int, itemsize: int) -> tuple[int, ...]:
    """One chunk of runs, with the time axis split where a file would grow too large."""
    rest = shape[2:]
    bytes_a_time = max(1, min(runs, shape[0]) * math.prod(rest) * itemsize)
    times = max(1, min(shape[1], _FILE_BYTES // bytes_a_time))
    return (min(runs, shape[0]), times, *rest)


def _create(
    node: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    axes: tuple[str, ...],
    chunks: tuple[int, ...],
) -> zarr.Array:
    dtype = np.dtype(dtype)
    fill = np.nan if dtype.kind == "f" else -1 if dtype.kind == "i" else None
    return node.create_array(
        name, shape=shape, dtype=dtype, chunks=chunks, dimension_names=axes, fill_value=fill
    )


def _places(group: Group) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Where each run stands on each axis of the sweep, and its seed, width and depth."""
    found = {"seed": [job.config.seed for job in group.jobs]}
    widths = [job.config.network.layer_widths for job in group.jobs]
    found["width"] = [max(w) for w in widths]
    found["depth"] = [len(w) for w in widths]
    for key in group.jobs[0].place:
        name, values = _as_numbers(key, [job.place[key] for job in group.jobs])
        found.setdefault(name.removeprefix("network."), values)
    return {name: (("run",), _as_array(values)) for name, values in found.items()}


def _as_numbers(key: str, values: list[Any]) -> tuple[str, list[Any]]:
    """The axis of relative steps as the axis of their shares; any other as it is."""
    first = values[0]
    if not isinstance(first, dict) or len(first) != 1:
        return key, values
    (inner,) = first
    if all(isinstance(value, dict) and value.keys() == first.keys() for value in values):
        return f"{key}.{inner}", [value[inner] for value in values]
    return key, values


def _as_array(values: list[Any]) -> np.ndarray:
    """Numbers as numbers, anything else as text."""
    plain = all(isinstance(value, bool | int | float) for value in values)
    return np.asarray(values) if plain else np.asarray(list(map(_text, values)), StringDType())


def _text(value: Any) -> str:
    """A value of an axis as a user writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items())
    return str(value)


def _task_arrays(group: Group) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Targets and labels of each distinct task, and which one each run has."""
    targets = np.stack([task.targets for task in group.tasks])
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "targets": (("task", "sample", "output"), targets),
        "task_index": (("run",), np.asarray(group.params["task"])),
    }
    labels = [task.labels for task in group.tasks]
    if all(one is not None for one in labels):
        found["label"] = (("task", "sample"), np.stack([np.asarray(one) for one in labels]))
    return found
