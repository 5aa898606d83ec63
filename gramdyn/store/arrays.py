"""What a run folder's arrays are, from the plan alone: their metadata, coordinates and chunk files.

Nothing here touches a disk. Creation writes these files, and a later start writes them again where
they are damaged: the plan says every byte of them.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import zarr
from numpy.dtypes import StringDType
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from gramdyn.plan.memory import FILE_BYTES
from gramdyn.plan.plan import Group, Plan

_PER_RUN = {"failed_at": "int32", "step_size": "float64", "status": "int32"}


def make_skeleton(plan: Plan) -> dict[str, bytes]:
    """Files of the arrays before any run is computed, by path: metadata and coordinates."""
    files: dict[str, Any] = {}
    root = zarr.open_group(MemoryStore(files), mode="w")
    for group in plan.groups:
        _create_group(root, group)
    return {name: content.to_bytes() for name, content in files.items()}


def chunk_files(group: Group, start: int) -> list[str]:
    """Files of the chunk that starts at this run, by path in its group; `status` is the last."""
    index = start // group.chunk
    found = [f"{name}/c.{index}.{place}" for name in group.shapes for place in _grid(group, name)]
    return [*found, *(f"{name}/c.{index}" for name in _PER_RUN)]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of arrays as they are to be written: who sees a run's `status` sees all of it."""
    return sorted(names, key=lambda name: (name == "status", name))


def _grid(group: Group, name: str) -> Iterator[str]:
    """Places of a record's files along the axes after the runs."""
    sizes = _sizes(group, name)
    chunks = _chunks(sizes, group.chunk, group.shapes[name].dtype.itemsize)
    counts = [-(-size // chunk) for size, chunk in zip(sizes, chunks, strict=True)]
    for place in itertools.product(*map(range, counts[1:])):
        yield ".".join(map(str, place))


def _sizes(group: Group, name: str) -> tuple[int, ...]:
    return (len(group.jobs), *group.shapes[name].shape)


def _create_group(root: zarr.Group, group: Group) -> None:
    node = root.create_group(group.name)
    steps = group.record.saved_steps(group.n_steps)
    dims = group.record.dims()
    for name, shape in group.shapes.items():
        axes = ("run", "step", *_axes(name, dims, len(shape.shape) - 1))
        sizes = _sizes(group, name)
        chunks = _chunks(sizes, group.chunk, shape.dtype.itemsize)
        _create(node, name, sizes, shape.dtype, axes, chunks)
    for name, dtype in _PER_RUN.items():
        _create(node, name, (len(group.jobs),), dtype, ("run",), (group.chunk,))
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
    times = max(1, min(shape[1], FILE_BYTES // bytes_a_time))
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
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        dimension_names=axes,
        fill_value=fill,
        # Flat: a folder an axis would take more disk than most chunks.
        chunk_key_encoding={"name": "default", "separator": "."},
        # The checksum is the last thing done to the bytes, so a reader checks it before all else.
        compressors=(ZstdCodec(), Crc32cCodec()),
    )


def _places(group: Group) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Where each run stands on each axis of the sweep, and its seed, width and depth."""
    found: dict[str, list[Any]] = {"seed": [job.seed for job in group.jobs]}
    networks = [job.config.network for job in group.jobs]
    found["width"] = [max(one.layer_widths, default=one.width or 0) for one in networks]
    found["depth"] = [len(one.layer_widths) for one in networks]
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
