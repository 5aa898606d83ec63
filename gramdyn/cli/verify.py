"""`gramdyn verify`: the laws, checked on a configuration's own runs."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from gramdyn._process import use_all_cores, use_compile_cache
from gramdyn.cli.console import make_console
from gramdyn.laws.verify import Verdict, verify_plan
from gramdyn.plan.load import load_config
from gramdyn.plan.plan import make_plan


def verify_file(file: Path, changes: list[str]) -> int:
    """Check every law that applies and print the verdicts; 1 if a law fails."""
    config = load_config(file, changes)
    use_all_cores()
    use_compile_cache()
    console = make_console()
    tell = lambda line: console.print(line)  # noqa: E731
    verdicts = verify_plan(make_plan(config), tell=tell)
    console.print(_table(verdicts))
    console.print(_told(verdicts))
    return int(any(verdict.holds is False for verdict in verdicts))


_WORD = {True: "holds", False: "FAILS", None: "-"}


def _table(verdicts: Sequence[Verdict]) -> Table:
    """One row a law and group: the largest relative error over the checked steps."""
    table = Table(title="laws: largest relative error over the checked steps", title_justify="left")
    for name in ("group", "law"):
        table.add_column(name)
    for name in ("error", "tolerance", "at step"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("note")
    for one in verdicts:
        error = "-" if one.error is None else f"{one.error:.1e}"
        step = "-" if one.error is None else str(one.step)
        tolerance, word = f"{one.tolerance:.0e}", _WORD[one.holds]
        table.add_row(one.group, one.law, error, tolerance, step, word, one.note)
    return table


def _told(verdicts: Sequence[Verdict]) -> str:
    """How many laws hold in every group, or how many fail in some."""
    checked = {one.law for one in verdicts if one.holds is not None}
    failing = {one.law for one in verdicts if one.holds is False}
    told = f"{len(failing)} of {len(checked)} laws fail" if failing else f"{len(checked)} laws hold"
    skipped = sum(one.holds is None and one.applies for one in verdicts)
    told += f"; skipped for size: {skipped}" if skipped else ""
    excused = sum(not one.applies for one in verdicts)
    return f"{told}; not applicable: {excused}" if excused else told
