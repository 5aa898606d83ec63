"""Sweeps of a second, and what stands in their folders."""

import shutil
from pathlib import Path

import jax
import numpy as np
import xarray as xr

from gramdyn.plan import Plan, load_config, make_plan, parse_config
from gramdyn.store import open
from gramdyn.sweep import run_sweep

TINY = Path(__file__).parents[2] / "configs" / "smoke" / "tiny.yaml"

# One group of 12 runs in 3 chunks of 4.
_SMALL = (
    *("sweep={seed: {count: 12}}", "network.width=4", "scheme.n_steps=20"),
    *("record={every: 10, of: [loss, layer_kernels]}", "scheme.step_size={relative: 0.5}"),
    *("runtime.devices=1", "runtime.chunk_runs=4"),
)


def small_plan(*changes: str, starts: range | None = range(0, 12, 4)) -> Plan:
    """The plan of 12 runs in 3 chunks, or in chunks that start as given, or anywhere."""
    plan = make_plan(load_config(TINY, [*_SMALL, *changes]))
    assert starts is None or [group.starts for group in plan.groups] == [starts]
    return plan


def arrays_of(folder: Path) -> dict[tuple[str, str], np.ndarray]:
    """Every stored array by node and name, read into memory."""
    nodes = {name: node.to_dataset().load() for name, node in open(folder).children.items()}
    return {(n, k): np.asarray(v) for n, data in nodes.items() for k, v in data.variables.items()}


def assert_same_bits(one: dict, other: dict) -> None:
    """The same arrays with the same numbers in them."""
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=str(key))


def contents_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copy_of(folder: Path, to: Path) -> Path:
    """A copy of a folder, to be damaged."""
    shutil.copytree(folder, to)
    return to


def run_as_from_the_terminal(config: str, folder: Path) -> xr.DataTree:
    """Results of a sweep run without strict promotion, which is for tests of what is computed."""
    jax.config.update("jax_numpy_dtype_promotion", "standard")  # of all threads
    try:
        run_sweep(parse_config(config), folder)
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    return open(folder)
