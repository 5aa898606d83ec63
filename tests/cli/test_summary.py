import pytest
import xarray as xr

from gramdyn.cli import tables


@pytest.mark.parametrize(("n_rows", "shown"), [(3, 3), (40, 40), (41, 40), (500, 40)])
def test_of_many_rows_the_first_are_shown_and_the_title_says_so(monkeypatch, n_rows, shown):
    keys = [key for _, keys in tables._COLUMNS for key in keys]
    rows = [{"width": i, **dict.fromkeys(keys, 1.0)} for i in range(n_rows)]
    monkeypatch.setattr(tables, "summary_rows", lambda tree: rows)
    table = tables.summary_table(xr.DataTree())
    assert table.row_count == shown
    assert (f"the first 40 of {n_rows} rows" in str(table.title)) == (n_rows > 40)
