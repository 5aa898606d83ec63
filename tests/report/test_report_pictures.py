import itertools

import numpy as np
import pytest

from gramdyn.report.cells import cells_of, manifest_of
from gramdyn.report.classes import MAX_SAMPLES, classes_of, sort_by
from gramdyn.report.curves import curves_of
from gramdyn.report.flips import draw_flips, raster_of
from gramdyn.report.heat import scale_of
from gramdyn.report.ladders import ladders_of
from gramdyn.report.losses import draw_loss
from gramdyn.report.matrices import draw_coactivation, draw_layer_kernels, over_outputs
from gramdyn.report.movement import MOVEMENT, draw_movement_by_width
from gramdyn.report.page import draw_pictures
from gramdyn.report.phase import draw_phase
from gramdyn.report.styles import Styles
from gramdyn.report.theme import ordered_colours
from gramdyn.store import open

NAMES = [
    "loss",
    "phase",
    "layer_kernels",
    "movement_by_width",
    "movement",
    "top_eigenvalue",
    "alignment",
    "coactivation",
    "flips",
]


def test_every_record_has_its_picture(tree):
    assert [picture.name for picture in draw_pictures(tree)] == NAMES


@pytest.mark.parametrize(
    "record", ["layer_kernels", "flips", "kernel_movement", "loss", "alignment"]
)
def test_a_missing_record_costs_only_its_own_pictures(tree, record):
    bare = tree.map_over_datasets(lambda data: data.drop_vars(record, errors="ignore"))
    bare.attrs = tree.attrs
    lost = {"kernel_movement": {"movement", "movement_by_width"}, "loss": {"loss", "phase"}}
    expected = [name for name in NAMES if name not in lost.get(record, {record})]
    assert [picture.name for picture in draw_pictures(bare)] == expected


def test_no_records_at_all(tree):
    bare = tree.map_over_datasets(lambda data: data.drop_vars(list(data.data_vars)))
    bare.attrs = tree.attrs
    assert draw_pictures(bare) == []


def test_curves_are_median_and_quantiles_of_the_raw_arrays(tree):
    curves = {(c.place["width"], c.place["depth"]): c for c in curves_of(cells_of(tree), "loss")}
    for width, depth in ((4, 1), (8, 2)):
        raw = tree[f"width-{width}_depth-{depth}"]["loss"].values.astype(np.float64)
        band = curves[width, depth].band
        np.testing.assert_array_equal(band.mid, np.median(raw, axis=0))
        np.testing.assert_allclose(band.low, np.quantile(raw, 0.1, axis=0), rtol=1e-14)
        np.testing.assert_allclose(band.high, np.quantile(raw, 0.9, axis=0), rtol=1e-14)


def test_loss_draws_a_line_for_each_place_and_step_zero(tree):
    cells = cells_of(tree)
    figure = draw_loss(cells, Styles(cells)).figure
    lines = [trace for trace in figure.data if trace.fill is None]
    assert len(lines) == 4
    assert [trace.name for trace in lines if trace.showlegend] == ["4", "8"]
    assert all(trace.x[0] == 2.5 and next(iter(trace.customdata)) == 0 for trace in lines)
    assert [note.text for note in figure.layout.annotations] == ["depth 1", "depth 2"]


def test_classes_are_sorted_and_parted():
    labels = np.array([2, 0, 1, 0, 2, 1, 0])
    classes = sort_by(labels, ["a", "b", "c"])
    assert list(labels[classes.order]) == [0, 0, 0, 1, 1, 2, 2]
    assert list(classes.order[:3]) == [1, 3, 6]
    assert (classes.names, classes.edges) == (("a", "b", "c"), (3, 5))
    assert classes.centres == [1.0, 3.5, 5.5]


def test_many_samples_are_thinned_after_sorting():
    labels = np.random.default_rng(0).integers(0, 3, size=1000)
    classes = sort_by(labels, None)
    assert len(classes.order) == MAX_SAMPLES
    assert np.all(np.diff(labels[classes.order]) >= 0)


def test_kernels_are_sorted_by_class_and_equal_the_stored_ones(tree):
    cell = next(cell for cell in cells_of(tree) if cell.place == {"width": 8, "depth": 2})
    classes = classes_of(cell, manifest_of(tree))
    data = tree["width-8_depth-2"]
    labels = data["label"].values[0]
    assert np.all(np.diff(labels[classes.order]) >= 0)
    assert classes.names == ("3", "8")
    figure = draw_layer_kernels(cells_of(tree), manifest_of(tree)).figure
    assert len(figure.data) == 8
    stored = data["layer_kernels"].values[0, :, :, 0, :, 0, :]
    for trace, (layer, time) in zip(
        figure.data[4:], [(0, 0), (0, -1), (1, 0), (1, -1)], strict=True
    ):
        wanted = stored[layer][classes.order][:, classes.order][..., time]
        np.testing.assert_array_equal(np.asarray(trace.z), wanted)


def test_start_and_end_of_a_layer_share_their_colours(tree):
    traces = draw_layer_kernels(cells_of(tree), manifest_of(tree)).figure.data
    for start, end in zip(traces[::2], traces[1::2], strict=True):
        assert (start.zmin, start.zmax) == (end.zmin, end.zmax)
        assert (start.showscale, end.showscale) == (False, True)


def test_bars_stand_clear_of_the_maps(tree):
    figure = draw_coactivation(cells_of(tree), manifest_of(tree)).figure
    layout = figure.layout
    maps = [(layout[f"xaxis{i}" if i > 1 else "xaxis"].domain) for i in range(1, 9)]
    bars = {trace.colorbar.x for trace in figure.data if trace.showscale}
    assert len(bars) == 2
    assert not any(low <= bar <= high for bar in bars for low, high in maps)


def test_outputs_are_averaged():
    kernels = np.random.default_rng(0).normal(size=(2, 1, 3, 2, 3, 2))
    wanted = (kernels[:, :, :, 0, :, 0] + kernels[:, :, :, 1, :, 1]) / 2
    np.testing.assert_allclose(over_outputs(kernels), wanted, rtol=1e-14)


@pytest.mark.parametrize(("shift", "low"), [(0.0, -1.0), (2.0, 0.0)])
def test_scale_is_symmetric_only_where_needed(shift, low):
    scale = scale_of(np.linspace(-1, 1, 800).reshape(2, 20, 20) + shift)
    assert np.sign(scale.low) == np.sign(low)
    assert scale.low in (0.0, -scale.high)


def test_movement_by_width_fits_the_means(made):
    tree = made(slope=-0.71).tree()
    ladders = ladders_of(cells_of(tree), MOVEMENT)
    assert [ladder.place for ladder in ladders] == [{"depth": 1}, {"depth": 2}]
    assert all(abs(ladder.law.slope + 0.71) < 1e-12 for ladder in ladders)
    picture = draw_movement_by_width(cells_of(tree))
    names = [trace.name for trace in picture.figure.data if trace.mode == "lines"]
    assert names == [f"depth {d}: slope \N{MINUS SIGN}0.71" for d in (1, 2)]
    assert len(picture.rows) == 2 * 3 * 5


def test_movement_by_width_is_the_mean_over_seeds(tree):
    first = ladders_of(cells_of(tree), MOVEMENT)[0]
    for width, mean in zip((4, 8), first.means, strict=True):
        raw = tree[f"width-{width}_depth-1"]["kernel_movement"].values[:, -1]
        assert mean == pytest.approx(np.mean(raw, dtype=np.float64), rel=1e-14)


def test_movement_by_width_needs_two_widths(made):
    cells = cells_of(made(widths=(8,)).tree())
    assert draw_movement_by_width(cells) is None


def test_flips_are_summed_over_joined_intervals(made):
    steps = tuple(range(400))
    (cell,) = cells_of(made(widths=(8,), depths=(1,), steps=steps, more=("flips",)).tree())
    raster = raster_of(cell)
    spans = np.diff(raster.edges)
    assert len(spans) < 150
    assert spans.max() > 1
    # Step t flips t masks: an interval (a, b] has the sum of a + 1 to b, of 6 samples.
    sums = [sum(range(a + 1, b + 1)) for a, b in itertools.pairwise(raster.edges.tolist())]
    np.testing.assert_allclose(raster.rates[0] * spans * 6, sums, rtol=1e-12)


def test_flips_are_means_of_the_raw_arrays(tree):
    cell = cells_of(tree)[0]
    raw = tree["width-4_depth-1"]["flips"].values.astype(np.float64)
    raster = raster_of(cell)
    total = (raster.rates * np.diff(raster.edges)).sum(axis=1) * 10
    np.testing.assert_allclose(total, raw.sum(axis=2).mean(axis=0), rtol=1e-12)


def test_flips_show_every_layer(tree):
    cells = cells_of(tree)
    figure = draw_flips(cells, Styles(cells)).figure
    assert sum(len(trace.z) for trace in figure.data) == 1 + 1 + 2 + 2


def test_spectrum_is_drawn_at_both_ends(made):
    pictures = {picture.name: picture for picture in draw_pictures(made(more=("spectrum",)).tree())}
    assert "top_eigenvalue" in pictures
    rows = pictures["spectrum"].rows
    assert [row["end"] for row in rows[:4]] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_phase_marks_what_diverged(diverged):
    tree = open(diverged)
    picture = draw_phase(cells_of(tree))
    heat, marks = picture.figure.data
    assert np.isnan(heat.z).sum() == len(marks.x) == 2
    assert marks.marker.symbol == "x"
    assert set(marks.x) == {2}
    assert all("2 of 2" in text for text in marks.text)


def test_phase_needs_two_numeric_axes(made):
    assert draw_phase(cells_of(made(depths=(1,)).tree())) is None


def test_curves_of_what_diverged_are_left_out(diverged):
    curves = curves_of(cells_of(open(diverged)), "loss")
    assert {curve.place["scheme.step_size"] for curve in curves} == {0.05, 0.1}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_as_many_colours_as_values(count):
    colours = ordered_colours(count)
    assert len(set(colours)) == count
    assert all(len(colour) == 7 for colour in colours)
