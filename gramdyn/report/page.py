"""The report: one HTML file that opens without a network, and a CSV beside each picture."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from gramdyn._errors import InputError
from gramdyn.report.alignment import draw_alignment
from gramdyn.report.cells import Cell, cells_of, count_runs, manifest_of
from gramdyn.report.closures import draw_closure_error
from gramdyn.report.currents import draw_currents, draw_decay_share
from gramdyn.report.deviation import draw_deviation
from gramdyn.report.events import draw_events
from gramdyn.report.features import draw_answers, draw_gram_gap, draw_linearity
from gramdyn.report.flips import draw_flips
from gramdyn.report.losses import draw_loss
from gramdyn.report.matrices import draw_coactivation, draw_layer_kernels
from gramdyn.report.modes import draw_mode_times, draw_modes
from gramdyn.report.movement import draw_movement, draw_movement_by_width
from gramdyn.report.neurons import draw_gains, draw_target_angles
from gramdyn.report.phase import draw_phase
from gramdyn.report.picture import Picture
from gramdyn.report.population import draw_population_loss
from gramdyn.report.roles import axis_title, value_title
from gramdyn.report.spectra import draw_spectrum, draw_top_eigenvalue
from gramdyn.report.structured import draw_conditioning, draw_final_accuracy, draw_final_loss
from gramdyn.report.styles import Styles
from gramdyn.report.success import draw_success, draw_success_phase
from gramdyn.report.table import summary_rows
from gramdyn.report.theme import templates
from gramdyn.store.results import open as open_results


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run folder: one HTML file, and a folder of CSV files beside it.

    A run that is not finished is reported as far as it has come, and the page says so.

    Args:
        folder: What `gramdyn run` wrote.
        out: Where to write; `report.html` in the run folder by default. The CSV files go into a
            folder of that name without its ending.

    Returns:
        Path of the HTML file.

    Raises:
        InputError: if the folder holds no run, or the report cannot be written.
    """
    folder = Path(folder)
    tree = open_results(folder)
    path = Path(out) if out is not None else folder / "report.html"
    pictures = draw_pictures(tree)
    tables = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-tables")
    page = render_page(tree, pictures, name=folder.resolve().name, tables=tables.name)
    try:
        _write(path, page, tables, pictures)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Report {path} cannot be written: {reason}.") from None
    return path


def draw_pictures(tree: xr.DataTree) -> list[Picture]:
    """Every picture that the records allow, in the order of the page."""
    cells, manifest = cells_of(tree), manifest_of(tree)
    if not cells:
        return []
    styles = Styles(cells)
    drawn = [
        draw_loss(cells, styles),
        draw_phase(cells),
        draw_success(cells),
        draw_success_phase(cells),
        draw_events(cells),
        draw_population_loss(cells),
        draw_gains(cells),
        draw_target_angles(cells),
        draw_conditioning(cells),
        draw_final_loss(cells),
        draw_final_accuracy(cells),
        draw_answers(cells),
        draw_linearity(cells),
        draw_gram_gap(cells),
        draw_mode_times(cells),
        draw_modes(cells),
        draw_layer_kernels(cells, manifest),
        draw_deviation(cells),
        draw_movement_by_width(cells),
        draw_movement(cells, styles),
        draw_top_eigenvalue(cells, styles),
        draw_spectrum(cells, styles),
        draw_alignment(cells, styles),
        draw_coactivation(cells, manifest),
        draw_flips(cells, styles),
        draw_currents(cells),
        draw_decay_share(cells),
        draw_closure_error(cells),
    ]
    return [picture for picture in drawn if picture is not None]


def render_page(tree: xr.DataTree, pictures: Sequence[Picture], *, name: str, tables: str) -> str:
    """The page as text.

    Args:
        tree: The results, with the manifest in their attributes.
        pictures: The pictures.
        name: Name of the run.
        tables: Folder of the CSV files, beside the page.
    """
    loader = jinja2.PackageLoader("gramdyn.report", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    cells, manifest = cells_of(tree), manifest_of(tree)
    return environment.get_template("report.html.j2").render(
        name=name,
        tables=tables,
        facts=_facts(manifest),
        counts=count_runs(cells),
        failures=_failures(cells),
        finished=manifest.get("finished"),
        groups=_group_rows(manifest),
        summary=_summary(tree),
        config=json.dumps(manifest.get("config", {}), indent=2),
        pictures=pictures,
        figures=[_script_json(picture.figure.to_json()) for picture in pictures],
        templates=_script_json(json.dumps(templates())),
        plotly=Markup(get_plotlyjs()),
        Markup=Markup,
    )


def _script_json(text: str) -> Markup:
    """JSON that may stand inside a script element: no `<` that could end it."""
    return Markup(text.replace("<", "\\u003c"))


def _facts(manifest: dict[str, Any]) -> dict[str, str]:
    """What the head of the page says: when, with what, on what."""
    commit = _short(manifest.get("commit"))
    versions = manifest.get("versions", {})
    seconds = manifest.get("seconds", {}).get("total")
    told = {
        "started": manifest.get("started"),
        "finished": manifest.get("finished"),
        "took": None if seconds is None else f"{seconds:.1f} s",
        "gramdyn": " ".join(filter(None, (manifest.get("gramdyn"), commit))),
        "device": _device(manifest.get("device")),
        "precision": manifest.get("precision"),
        "matrix products": manifest.get("matmul_precision"),
        "versions": ", ".join(f"{key} {value}" for key, value in versions.items()),
        "digest": _short(manifest.get("digest")),
    }
    return {key: str(value) for key, value in told.items() if value}


def _device(device: dict[str, Any] | None) -> str | None:
    form = "{count} \N{MULTIPLICATION SIGN} {kind} ({platform})"
    return form.format(**device) if device else None


def _short(digest: str | None) -> str | None:
    """The first twelve digits of a hash, and the `+` of a changed checkout."""
    return digest and digest[:12] + ("+" if digest.endswith("+") else "")


def _failures(cells: Sequence[Cell]) -> list[str]:
    """Where runs failed, a line a place."""
    return [
        ", ".join(f"{axis_title(key)} {value_title(value)}" for key, value in cell.place.items())
        + f": {cell.n_failed} of {cell.n_runs}"
        for cell in cells
        if cell.n_failed
    ]


def _group_rows(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The plan: a row for each group that shares a compiled program."""
    return [
        {
            "group": group["name"],
            "runs": group["runs"],
            "coordinates": group.get("coordinates", ""),
            "task": ", ".join(dict.fromkeys(task["name"] for task in group.get("tasks", []))),
            "operations a run": _told(group.get("run_flops")),
            "bytes a run": _told(group.get("run_bytes")),
        }
        for group in manifest.get("groups", [])
    ]


def _summary(tree: xr.DataTree) -> list[dict[str, str]]:
    """The table of what came out, without the columns that are empty or 0 throughout."""
    rows = summary_rows(tree)
    used = [key for key in (rows[0] if rows else {}) if any(row.get(key) for row in rows)]
    title = {"step_size": "step size taken"}
    return [{title.get(k) or axis_title(k): _told(row.get(k)) for k in used} for row in rows]


def _told(value: Any) -> str:
    return "\N{EN DASH}" if value is None else value_title(value)


def _write(path: Path, page: str, tables: Path, pictures: Sequence[Picture]) -> None:
    tables.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (tables / f"{picture.name}.csv").write_text(to_csv(picture.rows), encoding="utf-8")
    path.write_text(page, encoding="utf-8")


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV text; numbers in full."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
