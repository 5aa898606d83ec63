"""Opening a run folder as labelled arrays."""

from pathlib import Path

import xarray as xr

from gramdyn._errors import InputError
from gramdyn.store.damage import ARRAYS, check_sizes, explained
from gramdyn.store.whole import NAME, read_manifest


def open(folder: str | Path) -> xr.DataTree:
    """The results in a run folder, read as they are asked for.

    One node a group of runs that share array shapes; each has the axes `run`, then those of the
    quantity, and `step` (the saved time) last. Where a run stands on the sweep's axes is in
    coordinates along `run`: seed, width, depth and the others; beside them `status` (0 ok,
    1 not_finite, 2 diverged, 3 step_limit), `failed_at` and the resolved `step_size`. The manifest
    is in the tree's attributes. Take coordinates by key, `node["width"]`: a DataTree has attributes
    `width` and `depth` of its own.

    Args:
        folder: What `gramdyn run` wrote.

    A sweep in flight opens too: where a run's `status` is not -1, all of the run is there. Bytes
    that a disk altered raise when they are read, by the checksum of their file.

    Raises:
        InputError: if the folder holds no run, or lacks files of one that it says is done.
    """
    path = Path(folder).resolve()
    manifest = read_manifest(path)
    check_sizes(path)
    with explained(path):
        tree = xr.open_datatree(path / ARRAYS, engine="zarr", consolidated=False)
    names = [group["name"] for group in manifest["groups"]]
    if unknown := [name for name in names if name not in tree.children]:
        raise InputError(
            f"Folder {path} is damaged: {NAME} names a group `{unknown[0]}`, not there."
        )
    nodes = {name: _time_last(tree[name].to_dataset()) for name in names}
    found = xr.DataTree.from_dict(nodes)  # in the order of the plan
    found.attrs = manifest
    return found


def _time_last(data: xr.Dataset) -> xr.Dataset:
    return data.transpose("run", ..., "step", missing_dims="ignore")
