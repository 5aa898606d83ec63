import csv
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import unquote

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.report import write_report
from gramdyn.report.page import draw_pictures, to_csv
from gramdyn.store import open


class Reader(HTMLParser):
    """Collects what a page loads, and its figures."""

    def __init__(self):
        super().__init__()
        self.loads, self.plots, self.text, self._inside = [], [], {}, None

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        wanted = {"script": "src", "link": "href", "img": "src", "iframe": "src"}
        if tag in wanted and wanted[tag] in given:
            self.loads.append(given[wanted[tag]])
        if given.get("class") == "plot":
            self.plots.append(given["id"])
        self._inside = given.get("id") if given.get("type") == "application/json" else None

    def handle_data(self, data):
        if self._inside:
            self.text[self._inside] = self.text.get(self._inside, "") + data


def read(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    return reader


def rows_of(path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory):
    return write_report(finished, tmp_path_factory.mktemp("page") / "report.html")


def test_the_report_lies_in_the_run_folder(diverged):
    path = write_report(diverged)
    assert path == diverged / "report.html"
    assert (diverged / "report" / "loss.csv").exists()


def test_nothing_is_loaded_from_anywhere(page):
    assert read(page).loads == []
    assert "default-src 'none'" in page.read_text()


def test_one_figure_and_one_table_a_picture(page, finished):
    names = [picture.name for picture in draw_pictures(open(finished))]
    reader = read(page)
    assert reader.plots == [f"plot-{name}" for name in names]
    for name in names:
        assert json.loads(reader.text[f"figure-{name}"])["data"]
        assert rows_of(page.parent / "report" / f"{name}.csv")


def test_only_one_copy_of_the_script(page):
    assert page.read_text().count("* plotly.js v") == 1
    assert page.stat().st_size < 8e6


def test_the_page_says_what_was_run(page):
    text = page.read_text()
    for told in ("float32", "jaxlib", "width-8_depth-2", "&#34;n_samples&#34;: 10", "12</b>runs"):
        assert told in text
    assert "not finished" not in text


def test_csv_numbers_are_the_stored_ones(page, finished):
    tree = open(finished)
    raw = tree["width-8_depth-1"]["loss"].values.astype(np.float64)
    rows = [
        row
        for row in rows_of(page.parent / "report" / "loss.csv")
        if (row["width"], row["depth"]) == ("8", "1")
    ]
    assert [int(row["step"]) for row in rows] == [0, 5, 10, 15, 20]
    assert [float(row["median"]) for row in rows] == np.median(raw, axis=0).tolist()
    moved = tree["width-4_depth-2"]["kernel_movement"].values[:, -1].tolist()
    points = rows_of(page.parent / "report" / "movement_by_width.csv")
    here = [row for row in points if (row["width"], row["depth"]) == ("4", "2")]
    assert [float(row["movement"]) for row in here] == moved


def test_csv_kernels_are_the_stored_ones(page, finished):
    stored = open(finished)["width-8_depth-2"]["layer_kernels"].values[0]
    rows = rows_of(page.parent / "report" / "layer_kernels.csv")
    here = [row for row in rows if row["width"] == "8"]
    assert len(here) == 2 * 10 * 10
    for row in here:
        at = int(row["layer"]) - 1, int(row["sample"]), 0, int(row["sample_2"]), 0
        assert float(row["start"]) == stored[at][0]
        assert float(row["end"]) == stored[at][-1]


def test_failed_runs_are_told(diverged):
    text = write_report(diverged).read_text()
    assert "<b>4</b>failed" in text
    assert "step size 1000000, weight scale 1: 2 of 2" in text.replace("1e+06", "1000000")


def test_an_unfinished_run_is_reported_so_far(finished, tmp_path, monkeypatch):
    tree = open(finished)
    tree.attrs["finished"] = None
    status = tree["width-8_depth-2"]["status"]
    tree["width-8_depth-2"].coords["status"] = status.copy(data=np.array([0, -1, -1]))
    monkeypatch.setattr("gramdyn.report.page.open_results", lambda folder: tree)
    text = write_report(finished, tmp_path / "half.html").read_text()
    assert "This run is not finished" in text
    assert "<b>2</b>not computed yet" in text
    assert (tmp_path / "half" / "loss.csv").exists()


@pytest.mark.parametrize("name", ["other.html", "bare", "two words.html"])
def test_links_lead_to_the_tables(diverged, tmp_path, name):
    path = write_report(diverged, tmp_path / name)
    links = [unquote(link) for link in re.findall(r'class="csv" href="([^"]+)"', path.read_text())]
    assert len(links) == 3
    assert all((tmp_path / link).is_file() for link in links)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no manifest"):
        write_report(tmp_path)


def test_a_place_that_cannot_be_written(finished, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(finished, tmp_path / "file" / "report.html")


def test_csv_keeps_every_column():
    assert to_csv([{"a": 1}, {"a": 0.1, "b": None}]) == "a,b\n1,\n0.1,\n"


def test_the_template_is_in_the_package():
    assert files("gramdyn.report").joinpath("templates/report.html.j2").is_file()
