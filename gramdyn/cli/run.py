"""`gramdyn run` and `gramdyn plan`."""

from pathlib import Path

from gramdyn.cli.progress import Progress
from gramdyn.cli.tables import make_console, plan_table, summary_table
from gramdyn.sweep.cluster import Cluster, run_on_cluster
from gramdyn.sweep.config import Config
from gramdyn.sweep.folder import set_aside
from gramdyn.sweep.load import load_config
from gramdyn.sweep.plan import Plan, make_plan
from gramdyn.sweep.results import open as open_results
from gramdyn.sweep.run import Tally, run_plan
from gramdyn.sweep.runtime import use_all_cores, use_compile_cache


def run_config(
    file: Path,
    out: Path | None,
    changes: list[str],
    cluster: Cluster | None = None,
    *,
    force: bool = False,
) -> None:
    """Plan, run with progress, here or on a cluster, and print the table of what came out.

    With `force` a folder that is there is set aside first.
    """
    config, plan = _planned(file, changes)
    folder = out or Path("runs") / f"{file.stem}-{config.digest()[:8]}"
    console = make_console()
    console.print(plan_table(plan))
    console.print(_totals(plan))
    aside = set_aside(folder) if force else None
    if aside:
        console.print(f"the folder that was there is {aside} now", markup=False)
    if cluster:
        console.print(f"on more machines: gramdyn worker {cluster.address}", markup=False)
        tally = run_on_cluster(plan, folder, cluster, Progress(console))
    else:
        tally = run_plan(plan, folder, Progress(console))
    console.print(summary_table(open_results(folder)))
    console.print(_told(tally))
    console.print(f"results in {folder}; pictures: gramdyn report {folder}", markup=False)


def plan_config(file: Path, changes: list[str]) -> None:
    """Print the plan."""
    _, plan = _planned(file, changes)
    console = make_console()
    console.print(plan_table(plan))
    console.print(_totals(plan))


def _planned(file: Path, changes: list[str]) -> tuple[Config, Plan]:
    config = load_config(file, changes)
    use_all_cores()
    use_compile_cache()
    return config, make_plan(config)


def _totals(plan: Plan) -> str:
    devices = plan.runtime.devices
    return (
        f"{plan.n_runs} runs in {len(plan.groups)} programs, {plan.flops / 1e12:.3g} TFLOP of "
        f"training, {plan.stored_bytes / 1e6:.4g} MB of records before compression; "
        f"{len(devices)} {plan.runtime.platform} device(s), {plan.runtime.dtype}"
    )


def _told(tally: Tally) -> str:
    failed = f"{tally.failed} failed" if tally.failed else "none failed"
    mended = f" ({tally.repaired} because their files were damaged)" if tally.repaired else ""
    return (
        f"{tally.runs} runs computed{mended}, {tally.reused} reused, {failed}; "
        f"{tally.programs} programs compiled in {tally.compile_seconds:.1f} s of thread time; "
        f"{tally.seconds:.1f} s in all"
    )
