"""What does the engine itself cost: eigenvalues, recording, seeds, sizes, starting?

Five questions, each with the goal it is held to, on the cases of `peers/problem.py`, float32:

1. What share of a run are the largest eigenvalues, and how far are they from a decomposition of
   the same kernels in float64?
2. What does recording at every step cost, against every 20, with and without eigenvalues?
3. Is the cost of a seed the same among 256 as among 4?
4. How does the cost grow with n, N, L and S, and what does counting operations say?
5. How long from the start of a process to its first result, from Python and from the command line,
   with an empty compile cache and with a filled one?

    taskset -c 0 python benchmarks/engine.py [--quick] [--only eigenvalues ...] [--out FILE]

Times are CPU seconds, least of the rounds, all variants in turn; in question 5 those of a whole
process, user and system.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from library import WANTED, simulation
from problem import CASES, Case, eigenvalue_error, model_flops

from gramdyn.store.manifest import versions

PLAIN = tuple(name for name in WANTED if name != "top_eigenvalues")
LADDER = Case("ladder", 3, 128, n_samples=64, n_inputs=512, seeds=4, steps=40, every=20)
RUNGS = {
    "n_samples": (32, 64, 128, 256),
    "width": (64, 128, 256, 512),
    "depth": (2, 3, 4, 6),
    "seeds": (1, 4, 16),
}
STARTED = dict(n=64, d=16, width=64, depth=2, seeds=16, steps=200, every=20)
SCRIPT = """\
import jax
import gramdyn as gd
from gramdyn._process import use_compile_cache

use_compile_cache()
task = gd.gaussian(n_samples={n}, n_inputs={d})


def build(key):
    network = gd.init_network(
        key, {d}, ({width},) * {depth}, parametrization="ntk", train_readout=False
    )
    return gd.make_system(network, task), gd.GradientDescent(0.02)


keys = jax.random.split(jax.random.key(0), {seeds})
record = gd.Record({of}, every={every})
print(gd.simulate_many(build, keys, {steps}, record))
"""
CONFIG = """\
task: {{kind: gaussian, n_samples: {n}, n_inputs: {d}}}
network: {{width: {width}, depth: {depth}, readout: fixed, parametrization: ntk}}
scheme: {{kind: gradient_descent, step_size: 0.02, n_steps: {steps}}}
record: {{every: {every}, of: [{names}]}}
sweep:
  seed: {{count: {seeds}}}
"""


@dataclass(frozen=True)
class Found:
    """One number, with what it should be and what it was made from.

    Attributes:
        what: What was asked.
        case: Where.
        value: The number.
        goal: At most this; for exponents, what counting operations gives.
        seconds: CPU seconds behind it.
    """

    what: str
    case: str
    value: float
    goal: float | None
    seconds: dict[str, float] = field(default_factory=dict)


Clock = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Of all variants in turn.
        least: Seconds that the calls of one measurement take together.
        quick: Only show that it runs.
    """

    rounds: int
    least: float
    quick: bool


def in_turn(
    runs: dict[str, Callable[[], Any]], effort: Effort, clock: Clock = time.process_time
) -> dict[str, float]:
    """Least seconds a call of each by a clock, after a first call that compiles."""
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, np.inf)
    for _ in range(effort.rounds):
        for name, run in runs.items():
            best[name] = min(best[name], seconds_a_call(run, effort.least, clock))
    return best


def seconds_a_call(run: Callable[[], Any], least: float, clock: Clock) -> float:
    """Seconds a call by a clock, over calls that take at least so long together."""
    calls, begun = 0, clock()
    while calls == 0 or clock() - begun < least:
        run()
        calls += 1
    return (clock() - begun) / calls


def eigenvalues(effort: Effort) -> Iterable[Found]:
    """Question 1: share of a run, and error."""
    for case in [CASES["tiny"]] if effort.quick else [*CASES.values()][1:]:
        runs = {of: simulation(case, "float32", names) for of, names in both().items()}
        spent = in_turn(runs, effort)
        share = 1 - spent["without"] / spent["with"]
        yield Found("share of largest eigenvalues", case.name, share, 0.15, spent)
        found = runs["with"]()
        kernels = np.asarray(found["layer_kernels"]).reshape(-1, *2 * (case.n_samples,))
        top = np.asarray(found["layer_top_eigenvalues"]).reshape(-1)
        yield Found("their relative error", case.name, eigenvalue_error(kernels, top), 1e-4)


def both() -> dict[str, tuple[str, ...]]:
    """What is recorded, with and without eigenvalues."""
    return {"without": PLAIN, "with": WANTED}


def recording(effort: Effort) -> Iterable[Found]:
    """Question 2: every step against every 20 of four seeds, to spare memory."""
    often = replace(CASES["tiny" if effort.quick else "medium"], seeds=2 if effort.quick else 4)
    times = {"every 1": 1, f"every {often.every}": often.every}
    for of, names in both().items():
        cases = {label: replace(often, every=every) for label, every in times.items()}
        runs = {label: simulation(case, "float32", names) for label, case in cases.items()}
        spent = in_turn(runs, effort)
        ratio = spent["every 1"] / spent[f"every {often.every}"]
        what = f"recording every 1 over every {often.every}, {of} eigenvalues"
        yield Found(what, often.name, ratio, 1.6, spent)


def seeds(effort: Effort) -> Iterable[Found]:
    """Question 3: cost of a seed among many over that among few."""
    base, many = ("tiny", 8) if effort.quick else ("small", 256)
    cases = {count: replace(CASES[base], seeds=count) for count in (4, many)}
    runs = {f"{count} seeds": simulation(case, "float32") for count, case in cases.items()}
    spent = in_turn(runs, effort)
    ratio = spent[f"{many} seeds"] / many / (spent["4 seeds"] / 4)
    yield Found(f"a seed among {many} over one among 4", base, ratio, 1.1, spent)


def exponents(effort: Effort) -> Iterable[Found]:
    """Question 4: slopes of log cost against log size, of the measured and of the counted cost."""
    ladders = {"seeds": (1, 2)} if effort.quick else RUNGS
    for size, rungs in ladders.items():
        cases = [replace(LADDER, **{size: rung}) for rung in rungs]
        runs = {str(c): simulation(case, "float32") for c, case in zip(rungs, cases, strict=True)}
        spent = in_turn(runs, effort)
        counted = slope(rungs, [model_flops(case) for case in cases])
        measured = slope(rungs, list(spent.values()))
        ends = f"{rungs[0]} to {rungs[-1]}"
        yield Found(f"exponent of {size}, {ends}", "ladder", measured, counted, spent)


def slope(sizes: Iterable[float], costs: Iterable[float]) -> float:
    """Least-squares slope of log cost against log size."""
    return float(np.polyfit(np.log([*sizes]), np.log([*costs]), 1)[0])


def starts(effort: Effort) -> Iterable[Found]:
    """Question 5: CPU seconds of whole processes, cold and warm."""
    with tempfile.TemporaryDirectory() as folder:
        script, config = Path(folder) / "first.py", Path(folder) / "first.yaml"
        script.write_text(SCRIPT.format(of=list(WANTED), **STARTED))
        config.write_text(CONFIG.format(names=", ".join(WANTED), **STARTED))
        commands = {
            "library script": [str(script)],
            "gramdyn run": ["-m", "gramdyn", "run", str(config), "-o"],
        }
        floor = min(process_seconds(["-c", "import jax; jax.numpy.ones(3)"], folder) for _ in "ab")
        yield Found("process that imports jax alone", "start", floor, None)
        for name, command in commands.items():
            for state, spent in cold_and_warm(command, folder, effort.rounds).items():
                goal = {"cold": 2.5, "warm": 1.0}[state]
                yield Found(f"process of {name}, {state} cache", "start", spent, goal)


def cold_and_warm(command: list[str], folder: str, rounds: int) -> dict[str, float]:
    """Least CPU seconds of the process with an empty cache and with a filled one."""
    best = {"cold": np.inf, "warm": np.inf}
    for _ in range(rounds):
        cache = tempfile.mkdtemp(dir=folder)
        for state in best:
            # A folder of results that does not exist yet, where the command asks for one.
            out = [tempfile.mkdtemp(dir=folder) + "/out"] if command[-1] == "-o" else []
            best[state] = min(best[state], process_seconds([*command, *out], cache))
    return best


def process_seconds(arguments: list[str], cache: str) -> float:
    """User and system seconds of a Python process from start to end."""
    environment = {**os.environ, "GRAMDYN_CACHE": cache, "JAX_PLATFORMS": "cpu"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


QUESTIONS = {one.__name__: one for one in (eigenvalues, recording, seeds, exponents, starts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=[*QUESTIONS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    effort = Effort(1, 0.0, True) if given.quick else Effort(given.rounds, 0.2, False)
    print("| what | case | found | goal | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    rows = []
    for name in given.only:
        for row in QUESTIONS[name](effort):
            rows.append(row)
            show(row)
    told = {"load": os.getloadavg(), "versions": versions(), "rows": [asdict(row) for row in rows]}
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


def show(row: Found) -> None:
    """Print one line of the table."""
    if row.what.startswith("exponent"):
        goal = f"counted {row.goal:.2f}"
    else:
        goal = "" if row.goal is None else f"<= {row.goal:g}"
    spent = ", ".join(f"{name}: {seconds:.4g}" for name, seconds in row.seconds.items())
    print(f"| {row.what} | {row.case} | {row.value:.3g} | {goal} | {spent} |", flush=True)


if __name__ == "__main__":
    main()
