"""`gramdyn report` and `gramdyn list`."""

from pathlib import Path

from rich.table import Table

from gramdyn.cli.console import make_console
from gramdyn.dynamics.status import status_name
from gramdyn.report.page import write_report
from gramdyn.store.damage import explained
from gramdyn.store.results import open as open_results


def report_folder(folder: Path, out: Path | None) -> None:
    """Write the report and say where."""
    with explained(folder):
        print(write_report(folder, out))


def list_folder(folder: Path) -> None:
    """Print groups, arrays with their axes, and states of the runs."""
    import numpy as np

    tree = open_results(folder)
    table = Table(title=f"{folder}", title_justify="left")
    for name in ("group", "runs", "status", "arrays"):
        table.add_column(name)
    for name, node in tree.children.items():
        with explained(folder):
            codes, counts = np.unique(np.asarray(node["status"]), return_counts=True)
        known = {-1: "not computed"}
        told = ", ".join(
            f"{n} {known.get(int(c)) or status_name(int(c))}"
            for c, n in zip(codes, counts, strict=True)
        )
        arrays = "\n".join(
            f"{k} ({', '.join(map(str, v.dims))})" for k, v in node.data_vars.items()
        )
        table.add_row(name, str(node.sizes["run"]), told, arrays)
    make_console().print(table)
