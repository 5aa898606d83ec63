"""What does a sweep cost as a whole: padding, memory, programs, and what no program accounts for?

Four questions, each with the goal it is held to; every sweep in a fresh process (`one_sweep.py`),
nothing cached, float32:

padding   CPU seconds, compiling included, where networks of unlike width share a program
          (`runtime.padding: always`), where none do (`never`) and where the library decides
          (`auto`); where the first two cross. First all three must give the same losses.
memory    The peak that a plan announces over the peak that the process had; a sweep whose records
          are ten times `runtime.memory_gb`.
programs  Programs that XLA compiled over groups.
overhead  Microseconds a run of a sweep of many tiny networks, beyond its program and its compiling.

    python benchmarks/sweeps.py [--quick] [--only padding ...] [--core 0] [--out FILE]

CPU seconds are user and system of all threads of one process on one core, imports left out.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PADDING = ("auto", "always", "never")
FAR, CLOSE = (16, 32, 64, 128, 256), (240, 248, 256)
PADDING_GOAL, MEMORY_GOAL = 1.1, 1.5
SAME_LOSS = 2e-3  # float32 sums of one program and of a wider one differ by rounding alone
LADDER = (4, 8, 16, 32)  # seeds of the far widths


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        what: What was asked.
        case: Of which sweep.
        value: The number.
        goal: What it should be.
        met: Whether it is; None where there is no goal.
        told: What it was made from.
    """

    what: str
    case: str
    value: float
    goal: str
    met: bool | None
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """How it was called: the core to pin processes to, and whether only to show that it runs."""

    core: str
    quick: bool


def config(
    *,
    n: int = 64,
    d: int = 16,
    width: int = 64,
    depth: int = 2,
    steps: int = 200,
    every: int = 20,
    of: tuple[str, ...] = ("loss",),
    seeds: int = 4,
    axes: dict[str, Any] | None = None,
    **runtime: Any,
) -> dict[str, Any]:
    """A configuration of a sweep over seeds, and over the axes given."""
    return {
        "task": {"kind": "gaussian", "n_samples": n, "n_inputs": d},
        "network": {"width": width, "depth": depth, "parametrization": "ntk"},
        "scheme": {"kind": "gradient_descent", "step_size": 0.01, "n_steps": steps},
        "record": {"every": every, "of": list(of)},
        "runtime": runtime,
        "sweep": {"seed": {"count": seeds}, **(axes or {})},
    }


def run(what: dict[str, Any], given: Given, *want: str) -> dict[str, Any]:
    """The sweep in a process of its own, and what it took."""
    pinned = ["taskset", "-c", given.core] if shutil.which("taskset") else []
    done = subprocess.run(
        [*pinned, sys.executable, str(HERE / "one_sweep.py")],
        input=json.dumps({"config": what, "want": want}),
        env={**os.environ, "GRAMDYN_CACHE": "off", "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def padding(given: Given) -> Iterator[Row]:
    """Whether the library decides as well as the better of always and never."""
    if given.quick:
        yield from padded((8, 12), 2, given, steps=20, n=12)
        return
    better = {}
    for seeds in LADDER:
        rows = list(padded(FAR, seeds, given))
        better[seeds] = rows[0].told["always"] / rows[0].told["never"]
        yield from rows
    yield from crossing(better)
    for seeds in (4, 32):
        yield from padded(CLOSE, seeds, given)


def padded(widths: tuple[int, ...], seeds: int, given: Given, **sizes: int) -> Iterator[Row]:
    """Auto over the better of the other two."""
    axes = {"network.width": list(widths)}
    found = {
        how: run(config(seeds=seeds, axes=axes, padding=how, **sizes), given, "losses")
        for how in PADDING
    }
    for how in PADDING[:2]:
        assert agree(found[how]["losses"], found["never"]["losses"]), f"{how} gives other losses"
    spent = {how: one["all"]["cpu"] for how, one in found.items()}
    ratio = spent["auto"] / min(spent["always"], spent["never"])
    told = {**spent, "programs": {how: one["groups"] for how, one in found.items()}}
    case = f"{len(widths)} widths {widths[0]} to {widths[-1]}, {seeds} seeds"
    goal, met = f"<= {PADDING_GOAL}", ratio <= PADDING_GOAL
    yield Row("auto over the better of always and never", case, ratio, goal, met, told)
    yield programs_row(case, found["auto"])


def agree(found: list[float], wanted: list[float]) -> bool:
    """Whether losses are the same up to rounding."""
    pairs = zip(found, wanted, strict=True)
    return all(abs(one - two) <= SAME_LOSS * abs(two) + 1e-6 for one, two in pairs)


def crossing(better: dict[int, float]) -> Iterator[Row]:
    """Seeds at which always costs as much as never, between the two rungs where it changes."""
    rungs = sorted(better)
    for low, high in itertools.pairwise(rungs):
        if better[low] <= 1 < better[high]:
            share = (1 - better[low]) / (better[high] - better[low])
            seeds = low + share * (high - low)
            yield Row("seeds where always costs as much as never", "far widths", seeds, "", None)


def programs_row(case: str, found: dict[str, Any]) -> Row:
    """Compiles of whole programs, one a group."""
    compiled = found["compiles"].get("jit(run_many)", 0)
    groups = len(found["groups"])
    told = {"compiles": found["compiles"]}
    return Row("programs over groups", case, compiled / groups, "1", compiled == groups, told)


def memory(given: Given) -> Iterator[Row]:
    """Announced over measured peak."""
    for case, what in list(MEMORY.items())[: 1 if given.quick else None]:
        found = run(what, given, "programs")
        yield peak_row(case, found)
        yield programs_row(case, found)
    if not given.quick:
        yield from ten_times(given)


def peak_row(case: str, found: dict[str, Any]) -> Row:
    """Announced over measured peak of a sweep."""
    ratio = found["announced"] / found["peak"]
    met = 1 / MEMORY_GOAL <= ratio <= MEMORY_GOAL
    goal = f"{1 / MEMORY_GOAL:.2f} to {MEMORY_GOAL}"
    keys = ("announced", "peak", "peaks", "groups", "programs")
    return Row("announced over measured peak", case, ratio, goal, met, {k: found[k] for k in keys})


def ten_times(given: Given) -> Iterator[Row]:
    """A sweep that would not fit."""
    found = run(TEN_TIMES, given, "programs")
    group = found["groups"][0]
    times = group["runs"] * group["record_bytes"] / (TEN_TIMES["runtime"]["memory_gb"] * 2**30)
    case = f"records {times:.0f} times the memory"
    yield peak_row(case, found)
    beyond = found["peak"] / found["announced"]
    yield Row("measured over announced peak", case, beyond, "<= 1", beyond <= 1)
    yield Row("chunks", case, found["chunks"], "> 1", found["chunks"] > 1)


KERNELS = ("loss", "layer_kernels")
MEMORY = {
    "tiny records": config(n=16, d=8, width=16, steps=50, every=10, seeds=2000),
    "large records, 0.5 GiB": config(
        n=256, d=64, width=32, steps=100, every=1, of=KERNELS, seeds=8, memory_gb=0.5
    ),
    "large records, 1.5 GiB": config(
        n=256, d=64, width=32, steps=100, every=1, of=KERNELS, seeds=28, memory_gb=1.5
    ),
    "wide networks": config(n=128, width=2048, depth=3, steps=4, every=2, seeds=2),
    "many wide networks": config(n=16, width=1024, depth=4, steps=2, every=2, seeds=64),
    "vmap": config(d=64, width=256, steps=20, every=10, seeds=64, batching="vmap"),
    "many tasks": config(
        n=256, d=256, width=16, steps=10, every=10, seeds=1, axes={"task.seed": {"count": 100}}
    ),
    "many tasks, vmap": config(
        n=256,
        d=256,
        width=16,
        steps=10,
        every=10,
        seeds=1,
        axes={"task.seed": {"count": 100}},
        batching="vmap",
    ),
    "operators": config(
        width=128, steps=10, every=5, of=(*KERNELS, "top_eigenvalues", "operator_traces")
    ),
    "six programs": config(
        width=32, steps=20, every=10, axes={"network.depth": [1, 2, 3, 4, 5, 6]}
    ),
}
TEN_TIMES = config(n=128, width=32, steps=50, every=1, of=KERNELS, seeds=160, memory_gb=0.1)


def programs(given: Given) -> Iterator[Row]:
    """Compiles of a sweep of several groups, some of them padded."""
    axes = {"network.depth": [1, 2], "network.width": [8, 12], "scheme.step_size": [0.01, 0.02]}
    for how in PADDING[: 1 if given.quick else None]:
        small = config(n=12, d=8, width=8, steps=20, seeds=2, axes=axes, padding=how)
        yield programs_row(f"2 depths, 2 widths, 2 steps, {how}", run(small, given))


def overhead(given: Given) -> Iterator[Row]:
    """Microseconds a run beyond the program, of many tiny networks."""
    runs = 200 if given.quick else 20_000
    steps = {"scheme.step_size": {"linspace": [0.01, 0.05, 100 if given.quick else 1000]}}
    cases = {
        "seeds alone": config(**TINY, seeds=runs),
        "1000 step sizes": config(**TINY, seeds=20, axes=steps),
        "every run a step size of its own": config(
            **TINY, seeds=1, axes={"scheme.step_size": {"linspace": [0.01, 0.05, runs]}}
        ),
        "chunks of 200": config(**TINY, seeds=runs, chunk_runs=200),
    }
    for case, what in list(cases.items())[: 1 if given.quick else None]:
        found = run(what, given, "programs", "again", "profile")
        yield from per_run(case, found)


TINY = {"n": 8, "d": 4, "width": 8, "depth": 1, "steps": 20, "every": 10}


def per_run(case: str, found: dict[str, Any]) -> Iterator[Row]:
    """CPU microseconds a run: the program, and all that is neither it nor compiling."""
    runs = sum(group["runs"] for group in found["groups"])
    own = sum(program["cpu"] for program in found["programs"])
    compiling = sum(program["compiling"] for program in found["programs"])
    parts = {
        "program": own,
        "planning": found["plan"]["cpu"],
        "starting, fetching, writing": found["run"]["cpu"] - own - compiling,
        "checking a finished sweep": found["again"]["checking"]["cpu"],
        "reading it": found["again"]["reading"]["cpu"],
    }
    for what, seconds in parts.items():
        told = {"cpu_s": seconds, "compiling": compiling}
        if what == "program":
            told |= {"profile": found["profile"], "chunks": found["chunks"]}
        yield Row(f"microseconds a run, {what}", case, seconds / runs * 1e6, "", None, told)


QUESTIONS = {one.__name__: one for one in (padding, memory, programs, overhead)}


def show(row: Row) -> None:
    """Print one line of the table."""
    word = {True: "yes", False: "NO", None: ""}[row.met]
    numbers = {k: v for k, v in row.told.items() if isinstance(v, int | float)}
    told = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
    print(
        f"| {row.what} | {row.case} | {row.value:.3g} | {row.goal} | {word} | {told} |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sweeps, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS)
    parser.add_argument("--core", default="0", help="core to pin every process to")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    given = Given(options.core, options.quick)
    print("| what | case | found | goal | met | made from |")
    print("| --- " * 6 + "|")
    rows = []
    chosen = ["padding", "memory"] if options.quick else [*QUESTIONS]
    for name in options.only or chosen:
        for row in QUESTIONS[name](given):
            rows.append(row)
            show(row)
    load = os.getloadavg()
    print(f"load average {load[0]:.1f}")
    if options.out:
        told = {"load": load, "rows": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
