"""Pictures of the hierarchy of fields: limits, closures, currents."""

import csv
import json
import warnings

import numpy as np
import pytest

from gramdyn.report.cells import cells_of
from gramdyn.report.closures import draw_closure_error
from gramdyn.report.currents import draw_currents, draw_decay_share
from gramdyn.report.deviation import draw_deviation
from gramdyn.report.losses import draw_loss
from gramdyn.report.page import draw_pictures, to_csv
from gramdyn.report.statistics import band_over_seeds
from gramdyn.report.styles import Styles
from gramdyn.store import open

LIMITS = ("limit_loss", "limit_distance", "limit_error")
SHARES = ("transport_share", "pullback_share", "flip_current")


def names_of(tree) -> list[str]:
    return [picture.name for picture in draw_pictures(tree)]


def loss_of(tree):
    cells = cells_of(tree)
    return draw_loss(cells, Styles(cells))


def panel_of(figure, trace) -> str:
    """Heading of the panel, or words in it, from where the trace is drawn."""
    place = figure.layout[trace.xaxis.replace("x", "xaxis")].domain
    middle = sum(place) / 2
    return min(figure.layout.annotations, key=lambda note: abs(note.x - middle)).text


def lines_of(figure, name: str) -> list:
    return [trace for trace in figure.data if trace.name == name and trace.mode == "lines"]


def words_in(figure) -> list[str]:
    return [note.text for note in figure.layout.annotations if "domain" in str(note.xref)]


def of_cell(rows, **place) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in place.items())]


# Loss beside the limit.


def test_the_limit_is_the_median_of_the_widest_networks_in_every_panel(made):
    tree = made(more=LIMITS).tree()
    figure = loss_of(tree).figure
    lines = lines_of(figure, "infinite width")
    assert [line.showlegend for line in lines] == [True, False]
    for depth, line in zip((1, 2), lines, strict=True):
        assert panel_of(figure, line) == f"depth {depth}"
        stored = tree[f"w32_d{depth}"]["limit_loss"].values
        np.testing.assert_allclose(line.y, np.median(stored, axis=0), rtol=1e-14)
        assert line.line.color is None
        assert line.line.dash is not None


def test_the_limit_is_in_the_table_of_the_loss(made):
    rows = loss_of(made(more=LIMITS).tree()).rows
    assert len(of_cell(rows, curve="loss")) == 6 * 4
    assert {row["width"] for row in of_cell(rows, curve="infinite width")} == {32}


def test_linearised_stands_in_only_where_there_is_no_limit(made):
    both = loss_of(made(more=(*LIMITS, "linear_loss")).tree()).figure
    assert lines_of(both, "linearised at t = 0") == []
    tree = made(more=("linear_loss",)).tree()
    lines = lines_of(loss_of(tree).figure, "linearised at t = 0")
    stored = tree["w32_d2"]["linear_loss"].values
    np.testing.assert_allclose(lines[1].y, np.median(stored, axis=0), rtol=1e-14)


def test_no_reference_without_its_record(made):
    picture = loss_of(made().tree())
    assert {trace.name for trace in picture.figure.data if trace.mode == "lines" if trace.name} == {
        "8",
        "16",
        "32",
    }
    assert "Dashed" not in picture.text


def test_limits_that_share_a_panel_have_the_colours_of_their_networks(made):
    figure = loss_of(made(widths=(8,), more=LIMITS).tree()).figure
    for depth in (1, 2):
        (line,) = lines_of(figure, f"{depth}, infinite width")
        (loss,) = lines_of(figure, str(depth))
        assert line.line.color == loss.line.color


# Deviation from infinite width.


def test_deviation_fits_both_distances(made):
    tree = made(slope=-0.7, more=LIMITS).tree()
    figure = draw_deviation(cells_of(tree)).figure
    fits = [trace for trace in figure.data if trace.mode == "lines"]
    minus = "\N{MINUS SIGN}"
    assert [fit.name for fit in fits] == [
        f"depth {depth}: slope {minus}{slope}" for slope in ("0.50", "0.70") for depth in (1, 2)
    ]
    assert [fit.legend for fit in fits] == ["legend", "legend", "legend2", "legend2"]


@pytest.mark.parametrize(
    ("record", "column", "pick"),
    [
        ("limit_distance", "kernel_distance", lambda values: values[:, 0]),
        ("limit_error", "residual_distance", lambda values: values.max(axis=1)),
    ],
)
def test_deviation_is_of_the_stored_arrays(made, record, column, pick):
    tree = made(more=LIMITS).tree()
    picture = draw_deviation(cells_of(tree))
    rows = [row for row in picture.rows if column in row]
    assert len(rows) == 6 * 5
    for width in (8, 32):
        wanted = pick(tree[f"w{width}_d2"][record].values)
        here = of_cell(rows, width=width, depth=2)
        assert [row[column] for row in here] == wanted.tolist()
        assert here[0]["mean"] == pytest.approx(wanted.mean(), rel=1e-14)
    dots = np.concatenate([trace.y for trace in picture.figure.data if trace.marker.opacity])
    assert set(dots) >= {row[column] for row in rows}


def test_deviation_needs_two_widths_and_a_record(made):
    assert draw_deviation(cells_of(made(widths=(8,), more=LIMITS).tree())) is None
    assert draw_deviation(cells_of(made().tree())) is None
    one = draw_deviation(cells_of(made(more=("limit_error",)).tree()))
    assert {trace.legend for trace in one.figure.data} == {"legend"}


# Closures.


def test_closure_error_is_median_and_band_of_each_closure(made):
    tree = made(widths=(8,), more=("closure_error",)).tree()
    picture = draw_closure_error(cells_of(tree))
    for depth in (1, 2):
        stored = tree[f"w8_d{depth}"]["closure_error"].values[..., 1:]
        for i, name in enumerate(("flips_omitted", "frozen", "order-1")):
            line = lines_of(picture.figure, name)[depth - 1]
            assert panel_of(picture.figure, line) == f"depth {depth}"
            np.testing.assert_allclose(line.y, np.median(stored[:, i], axis=0), rtol=1e-14)
            rows = of_cell(picture.rows, depth=depth, closure=name)
            high = np.quantile(stored[:, i], 0.9, axis=0)
            np.testing.assert_allclose([row["q90"] for row in rows], high, rtol=1e-14)
    assert "flips_omitted" in picture.law
    assert "no operators through more weight matrices than 1" in picture.law


def test_only_the_narrowest_and_the_widest_share_a_panel(made):
    picture = draw_closure_error(cells_of(made(more=("closure_error",)).tree()))
    assert {row["width"] for row in picture.rows} == {8, 32}
    lines = {trace.name: trace.line.dash for trace in picture.figure.data if trace.name}
    assert lines["frozen, width 8"] != lines["frozen, width 32"]


@pytest.mark.parametrize("gone", [1, 3, 5])
def test_closed_systems_that_blew_up(made, gone):
    tree = made(widths=(8,), depths=(1,), more=("closure_error",)).tree()
    tree["w8_d1"]["closure_error"][-gone:, 1, 2:] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw_closure_error(cells_of(tree))
    (line,) = lines_of(picture.figure, "frozen")
    stored = tree["w8_d1"]["closure_error"].values[:, 1, 1:]
    median = np.sort(stored, axis=0)[2]
    np.testing.assert_allclose(line.y, np.where(np.isfinite(median), median, np.nan), rtol=1e-14)
    (axis,) = {tuple(axis.range) for axis in picture.figure.select_yaxes()}
    assert np.all(np.isfinite(axis))
    json.loads(picture.figure.to_json(), parse_constant=lambda name: pytest.fail(name))
    numbers = [trace.y for trace in picture.figure.data]
    assert not np.any(np.isinf(np.concatenate(numbers)))
    table = csv.DictReader(to_csv(picture.rows).splitlines())
    last = [row for row in table if (row["closure"], row["step"]) == ("frozen", "100")]
    assert float(last[0]["q90"]) == np.inf


def test_a_panel_at_rounding_does_not_squeeze_the_others(made):
    tree = made(widths=(8,), more=("closure_error",)).tree()
    tree["w8_d1"]["closure_error"][:] = tree["w8_d1"]["closure_error"].values * 1e-12
    figure = draw_closure_error(cells_of(tree)).figure
    assert words_in(figure) == ["medians up to about 2·10<sup>-14</sup>"]
    low, high = figure.layout.yaxis.range
    assert high - low < 4
    alone = draw_closure_error(cells_of(tree)[:1]).figure
    assert words_in(alone) == []
    assert len(lines_of(alone, "frozen")) == 1


def test_an_error_of_exactly_zero_is_said(made):
    tree = made(widths=(8,), more=("closure_error",)).tree()
    tree["w8_d1"]["closure_error"][:] = 0.0
    assert words_in(draw_closure_error(cells_of(tree)).figure) == ["0 throughout"]


def test_quantiles_with_infinite_entries():
    values = np.array([[0.0], [1.0], [2.0], [3.0], [np.inf], [np.inf]])
    for count in range(2, 7):
        for runs in (values[:count], values[-count:]):
            wanted = []
            for share in (0.1, 0.5, 0.9):
                place = share * (count - 1)
                below, above = int(np.floor(place)), int(np.ceil(place - 1e-12))
                low, high = runs[below, 0], runs[above, 0]
                wanted.append(np.inf if np.isinf(high) else low + (high - low) * (place - below))
            np.testing.assert_allclose(np.ravel(band_over_seeds(runs)), wanted, rtol=1e-12)


# Currents.


def test_currents_are_medians_layer_by_layer_of_the_widest(made):
    tree = made(depths=(1, 3, 4), more=SHARES).tree()
    picture = draw_currents(cells_of(tree))
    assert {(row["width"], row["depth"]) for row in picture.rows} == {(32, 3), (32, 4)}
    assert "width 32" in picture.text
    for record in SHARES:
        stored = tree["w32_d4"][record].values
        for layer in range(4):
            rows = of_cell(picture.rows, depth=4, share=record, hidden=layer + 1)
            median = np.median(stored[:, layer], axis=0)[-len(rows) :]
            assert [row["median"] for row in rows] == pytest.approx(median.tolist(), rel=1e-14)
    assert of_cell(picture.rows, share="flip_current")[0]["step"] == 1
    assert of_cell(picture.rows, share="transport_share")[0]["step"] == 0


def test_a_row_a_share_and_no_line_for_a_layer_that_is_never_moved(made):
    figure = draw_currents(cells_of(made(depths=(2, 3), more=SHARES).tree())).figure
    assert [figure.layout[f"yaxis{i}"].title.text for i in ("", 3, 5)] == [
        "<i>z</i>: from below",
        "<i>q</i>: from above",
        "<i>q</i>: by flips",
    ]
    drawn = [(t.yaxis, t.name) for t in figure.data if t.name]
    assert drawn == [
        ("y", "2"),
        ("y2", "2"),
        ("y2", "3"),
        ("y4", "1"),
        ("y5", "1"),
        ("y6", "1"),
        ("y6", "2"),
    ]
    assert words_in(figure) == ["0 throughout"]
    (words,) = [note for note in figure.layout.annotations if note.text == "0 throughout"]
    assert (words.xref, words.yref) == ("x3 domain", "y3 domain")


@pytest.mark.parametrize("records", [("flip_current",), ("transport_share", "pullback_share")])
def test_only_the_rows_recorded(made, records):
    picture = draw_currents(cells_of(made(depths=(3,), more=records).tree()))
    assert {row["share"] for row in picture.rows} == set(records)


def test_legend_entries_stand_in_the_order_of_the_layers(made):
    figure = draw_currents(cells_of(made(depths=(3,), more=SHARES).tree())).figure
    shown = sorted((t.legendrank, t.name) for t in figure.data if t.showlegend and t.name)
    assert [name for _, name in shown] == ["1", "2", "3"]


def test_decay_shares_are_medians_layer_by_layer(made):
    tree = made(more=("decay_share",)).tree()
    picture = draw_decay_share(cells_of(tree))
    for depth in (1, 2):
        stored = tree[f"w32_d{depth}"]["decay_share"].values
        for layer in range(depth):
            lines = lines_of(picture.figure, str(layer + 1))
            line = lines[depth - 1 - layer]
            assert panel_of(picture.figure, line) == f"depth {depth}"
            np.testing.assert_allclose(line.y, np.median(stored[:, layer], axis=0), rtol=1e-14)


def test_widths_get_the_panels_where_depth_does_not_vary(made):
    tree = made(widths=(8, 16, 32, 64, 128), depths=(3,), more=("decay_share",)).tree()
    titles = [note.text for note in draw_decay_share(cells_of(tree)).figure.layout.annotations]
    assert titles == ["width 8", "width 16", "width 64", "width 128"]


# The page.


@pytest.mark.parametrize(
    ("records", "picture"),
    [
        (LIMITS, "deviation"),
        (("closure_error",), "closure_error"),
        (SHARES, "currents"),
        (("decay_share",), "decay_share"),
    ],
)
def test_a_picture_is_there_if_and_only_if_its_records_are(made, records, picture):
    bare = set(names_of(made().tree()))
    assert picture not in bare
    assert set(names_of(made(more=records).tree())) == bare | {picture}


@pytest.mark.parametrize("count", [4, 5, 7])
def test_panels_leave_no_empty_frame(made, count):
    figure = loss_of(made(depths=tuple(range(1, count + 1))).tree()).figure
    assert len(list(figure.select_xaxes())) == count
    assert len(list(figure.select_annotations())) == count


def test_records_as_a_sweep_stores_them(hierarchy):
    tree = open(hierarchy)
    pictures = {picture.name: picture for picture in draw_pictures(tree)}
    assert list(pictures) == ["loss", "deviation", "currents", "decay_share", "closure_error"]
    stored = tree["width-8"]["closure_error"].sel(closure="order-1").values.astype(np.float64)
    rows = of_cell(pictures["closure_error"].rows, width=8, closure="order-1")
    assert [row["median"] for row in rows] == np.median(stored, axis=0)[1:].tolist()
    stored = tree["width-8"]["transport_share"].values[:, 1].astype(np.float64)
    rows = of_cell(pictures["currents"].rows, width=8, share="transport_share", hidden=2)
    assert [row["median"] for row in rows] == np.median(stored, axis=0).tolist()
