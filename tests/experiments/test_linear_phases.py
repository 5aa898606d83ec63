"""The claim on waiting times of modes: its law, results that spoil it, a small run, the whole."""

import numpy as np
import pytest
import xarray as xr

from gramdyn.experiments import CLAIMS, reproduce

CLAIM = CLAIMS["linear-phases"]
SIGMA = np.array([3.0, 1.0])
SCALES = np.geomspace(1e-3, 1.0, 7)


def waiting(depth, scale, power=0.0):
    """Time of each mode from a start of that scale: the leading law, or one with another power."""
    if depth == 1:
        return (1 + power) * np.log(1 / scale) / SIGMA + 0.1
    return scale ** (power - (depth - 1)) / SIGMA


def tree(power=0.0, horizon=np.inf):
    """Two runs a scale; what takes longer than the horizon is infinite."""
    nodes = {}
    for depth in (1, 2, 3):
        times = np.stack([waiting(depth, scale, power) for scale in np.repeat(SCALES, 2)])
        times = np.where(times < horizon, times, np.inf)
        saved = np.stack([np.zeros_like(times), times], axis=-1)
        data = xr.Dataset(
            {"mode_times": (("run", "mode", "step"), saved)},
            coords={
                "depth": ("run", np.full(len(times), depth)),
                "width": ("run", np.full(len(times), 8)),
                "weight_scale": ("run", np.repeat(SCALES, 2)),
                "targets": (("task", "sample", "output"), np.diag(SIGMA)[None]),
            },
        )
        nodes[f"depth-{depth}"] = data
    return xr.DataTree.from_dict(nodes)


def test_rows_tell_the_law_and_another_one():
    rows = CLAIM.compare([tree()])
    assert [row.measured.split(" (")[0] for row in rows] == ["1", "1", "−1", "−2"]  # noqa: RUF001
    assert all(row.holds for row in rows)
    assert all(row.holds is False for row in CLAIM.compare([tree(power=0.3)]))


def test_what_is_not_learned_in_time_is_information():
    rows = CLAIM.compare([tree(horizon=20.0)])
    assert [row.holds for row in rows] == [True, True, True, None]


def test_its_figure_has_a_panel_a_depth():
    figure = CLAIM.draw([tree()])
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == [
        *("2 layers", "3 layers", "4 layers")
    ]
    figure.canvas.draw()


def test_a_small_run(tmp_path):
    changes = [
        *("sweep.seed={count: 8}", "sweep.network.width=[4]", "sweep.network.depth=[1, 2]"),
        *("sweep.network.weight_scale=[0.01, 0.03, 0.1]", "scheme.n_steps=3000"),
    ]
    outcome = reproduce("linear-phases", tmp_path, changes=changes)
    assert len(outcome.rows) == 5
    # With eight seeds a median is good to some per cent.
    assert outcome.holds, "\n".join(map(str, outcome.rows))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_claim_itself(tmp_path):
    outcome = reproduce("linear-phases", tmp_path)
    assert outcome.holds, "\n".join(map(str, outcome.rows))
