"""Ten thousand runs of which three tenths diverge, each foretold by its step size.

One hidden layer of linear units with a fixed readout is linear: r(t+1) = (1 - c K / max) r(t) with
max the largest eigenvalue of the kernel K, which never changes. Its eigenvectors give every loss.
"""

import numpy as np
import pytest
from support.folders import TINY

from gramdyn.plan import load_config, make_plan
from gramdyn.store import open, read_state
from gramdyn.store.files import read_json
from gramdyn.sweep import run_plan

SHARES = (0.1, 0.2, 0.5, 0.8, 1.0, 1.2, 1.5, 3.0, 5.0, 11.0)
STEPS, ABOVE = 30, 1e6
CHANGES = (
    f"sweep={{seed: {{count: 1000}}, scheme.step_size.relative: {list(SHARES)}}}",
    "task={kind: gaussian, n_samples: 3, n_inputs: 5, target: random}",
    "network={width: 4, depth: 1, activation: linear, parametrization: ntk}",
    f"scheme={{kind: gradient_descent, step_size: {{relative: 0.5}}, n_steps: {STEPS}}}",
    "record={every: 1, of: [loss, residual, tangent_kernel]}",
    "runtime.memory_gb=0.01",
)


def foretold(node):
    """Losses of every run at every step, from its kernel and its residual at t = 0."""
    values, vectors = np.linalg.eigh(
        node["tangent_kernel"].isel(step=0).to_numpy().reshape(-1, 3, 3)
    )
    start = node["residual"].isel(step=0).to_numpy().reshape(-1, 3)
    modes = np.einsum("rij,ri->rj", vectors, start)
    share = node["scheme.step_size.relative"].to_numpy()[:, None]
    factors = 1 - share * values / values[:, -1:]
    powers = factors[..., None] ** np.arange(STEPS + 1)
    return 0.5 * ((modes[..., None] * powers) ** 2).sum(axis=1)


@pytest.mark.slow
def test_ten_thousand_runs_three_tenths_of_them_diverging(tmp_path):
    plan = make_plan(load_config(TINY, list(CHANGES)))
    (group,) = plan.groups
    assert len(group.jobs) == 10_000
    assert len(group.starts) > 5
    tally = run_plan(plan, tmp_path / "run")
    node = open(tmp_path / "run")[group.name].to_dataset().load()
    losses = foretold(node)
    over = losses > ABOVE * losses[:, :1]
    wild = over.any(axis=1)
    assert np.array_equal(wild, node["scheme.step_size.relative"].to_numpy() > 2)
    assert wild.sum() == 3000
    np.testing.assert_array_equal(node["status"].to_numpy(), np.where(wild, 2, 0))
    at = np.where(wild, over.argmax(axis=1), -1)
    np.testing.assert_array_equal(node["failed_at"].to_numpy(), at)
    stored = node["loss"].to_numpy()
    finite = np.isfinite(stored)
    # the last finite record is that of the step before the failure, or of the end
    np.testing.assert_array_equal(finite.sum(axis=1), np.where(wild, at, STEPS + 1))
    assert np.all(finite[:, :-1] >= finite[:, 1:])
    scale = losses[:, :1]
    np.testing.assert_allclose(
        (stored / scale)[finite], (losses / scale)[finite], rtol=1e-9, atol=1e-12
    )
    assert (tally.runs, tally.failed) == (10_000, 3000)
    counts = read_json(tmp_path / "run" / "manifest.json")["counts"]
    assert (counts["runs"], counts["failed"]) == (10_000, 3000)
    assert read_state(tmp_path / "run").failed == 3000
