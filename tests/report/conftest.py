import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gramdyn.sweep import load_config, open, run_sweep

CONFIG = """
task: {kind: digits, classes: [3, 8], n_samples: 10}
network: {width: 4, depth: 1, activation: relu, readout: fixed, parametrization: ntk}
scheme: {kind: gradient_descent, step_size: {relative: 0.5}, n_steps: 20}
record: {every: 5, of: [loss]}
precision: float32
runtime: {devices: 1}
"""
ALL = "loss, layer_kernels, coactivation, top_eigenvalues, kernel_movement, flips, alignment"


def run(folder: Path, *overrides: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(CONFIG)
    run_sweep(load_config(file, list(overrides)), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Two widths, two depths, three seeds, every record."""
    return run(
        tmp_path_factory.mktemp("finished"),
        f"record.of=[{ALL}]",
        "sweep.network.width=[4, 8]",
        "sweep.network.depth=[1, 2]",
        "sweep.seed={count: 3}",
    )


@pytest.fixture(scope="session")
def diverged(tmp_path_factory):
    """Step sizes of which one is far too large, two scales, two seeds, loss and flips."""
    return run(
        tmp_path_factory.mktemp("diverged"),
        "record.of=[loss, flips]",
        "sweep.scheme.step_size=[0.05, 0.1, 1e6]",
        "sweep.network.weight_scale=[1.0, 2.0]",
        "sweep.seed={count: 2}",
    )


@pytest.fixture
def tree(finished):
    return open(finished)


@dataclasses.dataclass
class Made:
    """A tree as the store would give it, from closed forms: no sweep is run."""

    widths: tuple[int, ...] = (8, 16, 32)
    depths: tuple[int, ...] = (1, 2)
    seeds: int = 5
    steps: tuple[int, ...] = (0, 1, 10, 100)
    slope: float = -0.5
    more: tuple[str, ...] = ()

    def tree(self) -> xr.DataTree:
        nodes = {f"w{w}_d{d}": self.node(w, d) for d in self.depths for w in self.widths}
        made = xr.DataTree.from_dict(nodes)
        made.attrs = {"groups": [{"name": name, "runs": self.seeds} for name in nodes]}
        return made

    def node(self, width: int, depth: int) -> xr.Dataset:
        runs, steps = self.seeds, np.asarray(self.steps)
        share = (1 + np.arange(runs)[:, None]) / runs
        gone = np.arange(len(steps))[None]
        loss = share * 10.0 ** -(gone * depth) / width
        movement = np.where(steps > 0, depth * share * float(width) ** self.slope, 0.0)
        data = {"loss": (("run", "step"), loss), "kernel_movement": (("run", "step"), movement)}
        data |= {name: self.extra(name) for name in self.more}
        along = {"seed": np.arange(runs), "width": np.full(runs, width)}
        along |= {"depth": np.full(runs, depth), "status": np.zeros(runs, int)}
        along |= {"step_size": np.full(runs, 0.1), "task_index": np.zeros(runs, int)}
        coords = {name: ("run", values) for name, values in along.items()}
        coords["targets"] = (("task", "sample", "output"), np.zeros((1, 6, 1)))
        return xr.Dataset(data, coords={**coords, "step": steps})

    def extra(self, name: str) -> tuple[tuple[str, ...], np.ndarray]:
        times = len(self.steps)
        ranks = 10.0 ** -np.arange(4)[None, :, None] * np.ones((self.seeds, 1, times))
        flips = np.ones((self.seeds, 1, 1), int) * np.arange(times)
        known = {
            "spectrum": (("run", "rank", "step"), ranks),
            "flips": (("run", "hidden", "step"), flips),
        }
        return known[name]


@pytest.fixture
def made():
    return Made
