"""Reproducing a claim: run its sweeps, compare, draw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import gramdyn
from gramdyn._checks import check_known
from gramdyn._errors import InputError
from gramdyn.experiments.registry import CLAIMS, Claim, Row
from gramdyn.plan.load import load_config
from gramdyn.plan.plan import Plan, make_plan
from gramdyn.report.axes import save_figure
from gramdyn.store.results import open as open_results
from gramdyn.sweep.run import Listener, Tally, run_plan


@dataclass(frozen=True)
class Outcome:
    """What reproducing a claim came to.

    Attributes:
        claim: The claim.
        rows: Predicted beside measured.
        figure: Where its figure is.
        folders: Run folders of its sweeps.
    """

    claim: Claim
    rows: tuple[Row, ...]
    figure: Path
    folders: tuple[Path, ...]

    @property
    def holds(self) -> bool:
        """Whether no row fails."""
        return all(row.holds is not False for row in self.rows)


def find_claim(name: str) -> Claim:
    """The claim of a name.

    Raises:
        InputError: for a name that is not in `CLAIMS`.
    """
    return CLAIMS[check_known("claim", name, CLAIMS)]


def config_file(name: str) -> Path:
    """A configuration that comes with the package, from `configs/paper`.

    Raises:
        InputError: if the installation lacks it.
    """
    home = Path(gramdyn.__file__).parent
    for folder in (home / "experiments" / "configs", home.parent / "configs" / "paper"):
        if (folder / f"{name}.yaml").exists():
            return folder / f"{name}.yaml"
    raise InputError(f"Configuration {name}.yaml is missing from this installation of gramdyn.")


def plan_claim(claim: Claim, changes: Sequence[str] = ()) -> list[Plan]:
    """The sweeps of a claim, each key changed as asked, checked before anything runs.

    Raises:
        InputError: for a change that cannot be, or one that leaves out what the claim reads.
    """
    if changes and not claim.configs:
        raise InputError(
            f"Claim `{claim.name}` is computed without a sweep: there is no key to set."
        )
    plans = [make_plan(load_config(config_file(name), list(changes))) for name in claim.configs]
    for group in (group for plan in plans for group in plan.groups):
        closures = group.record.labels().get("closure", ())
        lost = [name for name in claim.records if name not in group.shapes]
        lost += [name for name in claim.closures if name not in closures]
        if lost:
            raise InputError(
                f"Claim `{claim.name}` reads {', '.join(lost)}, "
                "which the changed configuration does not record."
            )
    return plans


def reproduce(
    name: str,
    folder: str | Path,
    *,
    changes: Sequence[str] = (),
    force: bool = False,
    listener: Callable[[], Listener] | None = None,
) -> Outcome:
    """Run the sweeps of a claim, compare what it predicts with what came out, draw its figure.

    Args:
        name: One of `CLAIMS`.
        folder: Where the run folders and the figure go. Chunks that are there already are not
            computed again.
        changes: `key=value` changes of every configuration, such as `sweep.seed={count: 4}`.
        force: Set run folders that are there aside, and start anew.
        listener: Makes who is told of each sweep's progress.

    Raises:
        InputError: before anything runs, for an unknown claim or a change that cannot be; after
            it, where no run of a group came through.
    """
    found = find_claim(name)
    plans = plan_claim(found, changes)
    folders = [Path(folder) / config for config in found.configs]
    for plan, where in zip(plans, folders, strict=True):
        _run(plan, where, listener, force)
    trees = [_results(where) for where in folders]
    if found.measure is not None:
        trees.append(_measure(found.measure, Path(folder) / "measured"))
    figure = save_figure(found.draw(trees), Path(folder) / f"{name}.png")
    return Outcome(found, tuple(found.compare(trees)), figure, tuple(folders))


def _results(folder: Path) -> xr.DataTree:
    """Results of which every group has a run that came through, so that there is what to compare.

    Raises:
        InputError: naming the group that has none.
    """
    tree = open_results(folder)
    for name, node in tree.children.items():
        if not np.any(np.asarray(node["status"]) == 0):
            raise InputError(f"No run of group `{name}` in {folder} came through; see its status.")
    return tree


def _measure(measure: Callable[[], xr.DataTree], folder: Path) -> xr.DataTree:
    """What a claim computes beside its sweeps; kept as arrays that xarray opens."""
    found = measure()
    found.to_zarr(folder, mode="w", consolidated=False)  # zarr 3 has no such thing
    return found


def _run(plan: Plan, folder: Path, listener: Callable[[], Listener] | None, force: bool) -> Tally:
    return run_plan(plan, folder, listener() if listener else None, force=force)
