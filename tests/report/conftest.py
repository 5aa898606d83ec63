import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gramdyn.plan import load_config
from gramdyn.store import open
from gramdyn.sweep import run_sweep

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


@pytest.fixture(scope="session")
def hierarchy(tmp_path_factory):
    """Two widths of two hidden layers, two seeds, limits, closures and currents."""
    closures = "{name: closure_error, closures: [dropped, {order: 1}]}"
    return run(
        tmp_path_factory.mktemp("hierarchy"),
        f"record.of=[loss, infinite_width, transport, flip_current, decay_share, {closures}]",
        "network.depth=2",
        "sweep.network.width=[4, 8]",
        "sweep.seed={count: 2}",
        "scheme.n_steps=10",
        "coordinates=weights",
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
    closures: tuple[str, ...] = ("flips_omitted", "frozen", "order-1")

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
        data |= {name: self.extra(name, width, depth) for name in self.more}
        along = {"seed": np.arange(runs), "width": np.full(runs, width)}
        along |= {"depth": np.full(runs, depth), "status": np.zeros(runs, int)}
        along |= {"step_size": np.full(runs, 0.1), "task_index": np.zeros(runs, int)}
        coords = {name: ("run", values) for name, values in along.items()}
        coords["targets"] = (("task", "sample", "output"), np.zeros((1, 6, 1)))
        if "closure_error" in self.more:
            coords["closure"] = ("closure", np.asarray(self.closures))
        return xr.Dataset(data, coords={**coords, "step": steps})

    def extra(self, name: str, width: int, depth: int) -> tuple[tuple[str, ...], np.ndarray]:
        times = len(self.steps)
        share = (1 + np.arange(self.seeds)[:, None]) / self.seeds
        gone = np.arange(times)[None]
        layer = np.arange(depth)[None, :, None]
        cut = 10.0 ** np.arange(len(self.closures))[None, :, None]
        by_layer = ("run", "hidden", "step")
        # Largest at a time between the first and the last.
        arch = np.where(gone == times // 2, 2.0, np.minimum(gone, 1.0))
        # The first layer feels none below; the last two none above; the last no flip of its own.
        shares = 0.1 * (1 + layer) * share[:, :, None] * np.ones(times)
        ranks = 10.0 ** -np.arange(4)[None, :, None] * np.ones((self.seeds, 1, times))
        flips = np.ones((self.seeds, 1, 1), int) * np.arange(times)
        known = {
            "spectrum": (("run", "rank", "step"), ranks),
            "flips": (by_layer, flips),
            "limit_loss": (("run", "step"), share * depth * np.exp(-gone / width)),
            "linear_loss": (("run", "step"), 7 * share * depth * np.exp(-gone / width)),
            "limit_distance": (("run", "step"), share * width**-0.5 * (1 + gone)),
            "limit_error": (("run", "step"), depth * share * width**self.slope * arch),
            "closure_error": (
                ("run", "closure", "step"),
                depth * 1e-4 * cut * share[:, :, None] * gone[:, None],
            ),
            "transport_share": (by_layer, shares * (layer > 0)),
            "pullback_share": (by_layer, shares * (layer < depth - 2)),
            "flip_current": (by_layer, shares * (layer < depth - 1) * np.minimum(gone, 1)),
            "decay_share": (("run", "layer", "step"), shares / shares.sum(axis=1, keepdims=True)),
        }
        return known[name]


@pytest.fixture
def made():
    return Made
