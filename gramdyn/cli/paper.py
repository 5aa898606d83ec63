"""`gramdyn paper`: claims, predicted beside measured."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from gramdyn._process import use_all_cores, use_compile_cache
from gramdyn.cli.console import make_console
from gramdyn.cli.progress import Progress
from gramdyn.experiments.registry import CLAIMS
from gramdyn.experiments.reproduce import Outcome, find_claim, reproduce


def list_claims() -> None:
    """One line a claim, with its source."""
    width = max(len(name) for name in CLAIMS)
    for claim in CLAIMS.values():
        print(f"{claim.name:{width}}  {claim.told_source:16}  {claim.statement}")


def reproduce_claim(name: str, out: Path | None, changes: list[str], *, force: bool = False) -> int:
    """Run a claim, print predicted beside measured; 1 if a row fails."""
    claim = find_claim(name)
    use_all_cores()
    use_compile_cache()
    console = make_console()
    console.print(f"{claim.statement} ({claim.told_source})")
    folder = out or Path("runs") / "paper" / name
    outcome = reproduce(
        name, folder, changes=changes, force=force, listener=lambda: Progress(console)
    )
    _show(outcome, console)
    return 0 if outcome.holds else 1


def _show(outcome: Outcome, console: Console) -> None:
    table = Table(title=outcome.claim.name, title_justify="left")
    for name in ("what", "predicted", "measured", ""):
        table.add_column(name)
    verdict = {True: "holds", False: "FAILS", None: ""}
    for row in outcome.rows:
        table.add_row(row.what, row.predicted, row.measured, verdict[row.holds])
    console.print(table)
    judged = [row.holds for row in outcome.rows if row.holds is not None]
    console.print(f"{sum(judged)} of {len(judged)} hold; figure {outcome.figure}")
