"""`gramdyn run` and `gramdyn plan`."""

import os
import shutil
from pathlib import Path

from rich.console import Console

from gramdyn._process import use_all_cores, use_compile_cache
from gramdyn.cli.console import make_console, told_seconds
from gramdyn.cli.progress import Progress
from gramdyn.cli.tables import plan_table, summary_table
from gramdyn.plan.config import Config
from gramdyn.plan.load import load_config
from gramdyn.plan.plan import Plan, make_plan
from gramdyn.store.results import open as open_results
from gramdyn.sweep.calibrate import Forecast, forecast
from gramdyn.sweep.cluster import run_on_cluster
from gramdyn.sweep.run import Tally, run_plan
from gramdyn.sweep.scheduler import Cluster


def run_config(
    file: Path,
    out: Path | None,
    changes: list[str],
    cluster: Cluster | None = None,
    *,
    force: bool = False,
) -> None:
    """Plan, run with progress, here or on a cluster, and print the table of what came out.

    With `force` a folder that is there is set aside once the cluster, if any, has answered.
    """
    if cluster:
        # The driver and a worker beside it share the device; each would take most of its memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    config, plan = _planned(file, changes)
    folder = out or _default_folder(file, config)
    console = make_console()
    _show(plan, folder, console)
    if cluster:
        console.print(f"on more machines: gramdyn worker {cluster.address}")
        listener = Progress(console, local=False)
        tally = run_on_cluster(plan, folder, cluster, listener, force=force)
    else:
        tally = run_plan(plan, folder, Progress(console), force=force)
    console.print(summary_table(open_results(folder)))
    console.print(_told(tally))
    if tally.aside:
        console.print(f"the folder that was there is {tally.aside} now", soft_wrap=True)
    console.print(f"results in {folder}; pictures: gramdyn report {folder}", soft_wrap=True)


def plan_config(file: Path, changes: list[str], *, time: bool = True) -> None:
    """Print the plan and, after a short calibration, how long it will take."""
    config, plan = _planned(file, changes)
    console = make_console()
    _show(plan, _default_folder(file, config), console)
    if time:
        console.print(_expected(forecast(plan), len(plan.groups)))


def _default_folder(file: Path, config: Config) -> Path:
    return Path("runs") / f"{file.stem}-{config.digest()[:8]}"


def _show(plan: Plan, folder: Path, console: Console) -> None:
    console.print(plan_table(plan))
    console.print(_totals(plan))
    console.print(_space(plan, folder))


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


def _space(plan: Plan, folder: Path) -> str:
    """Memory at most, and room on the disk where the folder is or will be."""
    homes = (folder, *folder.absolute().parents)
    free = shutil.disk_usage(next(home for home in homes if os.path.isdir(home))).free
    short = "; NOT ENOUGH if they compress little" if plan.stored_bytes > free else ""
    return (
        f"memory at most about {plan.peak_bytes / 1e9:.2g} GB (runtime.memory_gb "
        f"{plan.config.runtime.memory_gb:g} for runs in flight); {free / 1e9:.3g} GB free on disk"
        f"{short}"
    )


def _expected(found: Forecast, n_groups: int) -> str:
    measured = ", ".join(found.measured)
    return (
        f"expected time {told_seconds(found.seconds)}, {found.compile_seconds:.1f} s of it before "
        f"the first chunk; {found.peak_share:.0%} of peak (timed: {measured}"
        f"{'' if len(found.measured) == n_groups else '; the others by their operations'})"
    )


def _told(tally: Tally) -> str:
    failed = f"{tally.failed} failed" if tally.failed else "none failed"
    mended = f" ({tally.repaired} because their files were damaged)" if tally.repaired else ""
    return (
        f"{tally.runs} runs computed{mended}, {tally.reused} reused, {failed}; "
        f"{tally.programs} programs compiled in {tally.compile_seconds:.1f} s of thread time; "
        f"{tally.seconds:.1f} s in all"
    )
