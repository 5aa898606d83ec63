"""How does this library compare with what researchers run today, and with the machine's limit?

    python benchmarks/peers/compare.py [--quick] [--cases small medium ...] [--ways library ...]
        [--torch-python PATH] [--nt-python PATH] [--rounds 5] [--cores 0] [--budget 60] [--out FILE]

The same gradient descent with loss, residual, layer kernels and their largest eigenvalues recorded
(`problem.py`), each way in a process of its own pinned to one core. First every way must give the
right answer: in float64 on a tiny case, in float32 on the case itself. Then rounds, all ways in
turn, and a table of CPU seconds. A way that is slow gets fewer rounds: none begins that would take
it past the budget. A way whose environment is not named is left out.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from problem import CASES, Case, Records, discrepancies, model_flops, reference

HERE = Path(__file__).resolve().parent
WAYS = ("library", "handwritten", "jax_jacrev", "torch_loop", "nt_structured")
QUICK = ("library", "handwritten", "jax_jacrev")
# Times a way may be slower than the library, at least (at most, for what is written by hand).
GOALS = {
    "torch_loop": {"small": 15, "medium": 14, "deep": 13, "wide": 24, "highd": 650},
    "jax_jacrev": {"small": 15, "medium": 24, "deep": 20, "wide": 70, "highd": 1600},
    "nt_structured": {"small": 2.9, "medium": 1.85, "deep": 3.5, "wide": 1.5, "highd": 95},
}
# 400 steps and four layers carry what rounding decided into the residual: 3.5e-4 for PyTorch, 2e-4
# for the others. A wrong law would be off by order one.
LONGER = {("deep", "float32"): {"residual": 1e-3}}
GEMM_GOAL = {"small": 0.55, "medium": 0.80, "deep": 0.55, "wide": 0.82, "highd": 0.75}
OVERHEAD_GOAL = 1.10  # library over handwritten
# float64: rounding over some hundred steps. float32: rounding for loss and residual; the kernels'
# masks of units resting on their kink are decided by rounding, in any implementation.
_SINGLE = {"loss": 2e-4, "residual": 2e-4, "first_kernels": 1e-5, "kernels": 0.1, "top": 0.1}
TOLERANCES = {
    "float64": dict.fromkeys((*_SINGLE, "top_own"), 1e-9),
    "float32": {**_SINGLE, "top_own": 1e-4},
}
CHECKED_SEEDS = 2
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class Child:
    """A way in its own process, and what it has told."""

    def __init__(self, way: str, python: str, cores: str):
        pinned = ["taskset", "-c", cores] if shutil.which("taskset") else []
        self.way, self.spent = way, 0.0
        self.seconds: list[list[float]] = []
        self.process = subprocess.Popen(
            [*pinned, python, str(HERE / "child.py"), way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )
        self.versions = self._answer()

    def ask(self, command: str) -> Any:
        """The answer to a command."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.way} ended with status {self.process.wait()}.")
        return json.loads(line)

    def prepare(self, case: Case, dtype: str) -> None:
        self.ask(f"prepare {case.name} {dtype}")
        self.seconds, self.spent = [], 0.0

    def go(self, budget: float) -> None:
        """Another round, unless it would go past the budget."""
        least = min((cpu for _, cpu in self.seconds), default=0.0)
        if not self.seconds or self.spent + least <= budget:
            self.seconds.append(self.ask("go"))
            self.spent += self.seconds[-1][1]

    def check(self, wanted: Records, dtype: str, case: str) -> dict[str, float]:
        """Differences from the truth; the first call, so that it compiles."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "found.npz"
            self.ask(f"check {file}")
            with np.load(file) as stored:
                found = Records(**stored)
        gaps = discrepancies(found, wanted)
        for name, limit in (TOLERANCES[dtype] | LONGER.get((case, dtype), {})).items():
            assert gaps[name] <= limit, f"{self.way}, {dtype}: {name} is off by {gaps[name]:.1e}"
        return gaps

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def check_tiny(children: list[Child]) -> dict[str, dict[str, float]]:
    """Every way in float64 on the tiny case; differences from the truth."""
    wanted, found = reference(CASES["tiny"]), {}
    for child in children:
        child.prepare(CASES["tiny"], "float64")
        found[child.way] = child.check(wanted, "float64", "tiny")
    return found


def measure(children: list[Child], case: Case, rounds: int, budget: float) -> dict[str, Any]:
    """Differences in float32, then rounds with all ways in turn."""
    wanted, gaps, rates = reference(case, CHECKED_SEEDS), {}, []
    for child in children:
        child.prepare(case, "float32")
        gaps[child.way] = child.check(wanted, "float32", case.name)
    # In the process of a way that has XLA, between its rounds.
    judge = next((one for one in children if one.way in QUICK), None)
    for _ in range(rounds):
        for child in children:
            child.go(budget)
        if judge:
            rates.append(judge.ask("rate"))
    seconds = {child.way: child.seconds for child in children}
    return {"case": asdict(case), "differences": gaps, **summary(case, seconds, rates)}


def summary(case: Case, seconds: dict[str, Any], rates: list[float]) -> dict[str, Any]:
    """Per way: CPU and wall seconds, ratio to the library, share of the core's best rate."""
    rate, ways = max(rates, default=float("nan")), {}
    best = {way: min(cpu for _, cpu in times) for way, times in seconds.items()}
    for way, times in seconds.items():
        ways[way] = {
            "cpu_s": best[way],
            "cpu_s_median": statistics.median(cpu for _, cpu in times),
            "wall_s": min(wall for wall, _ in times),
            "rounds": len(times),
            "ratio": best[way] / best["library"] if "library" in best else None,
            "goal": GOALS.get(way, {}).get(case.name),
            "share_of_rate": model_flops(case) / best[way] / rate,
        }
    told = {"model_flops": model_flops(case), "rate": rate, "ways": ways}
    if {"library", "handwritten"} <= best.keys():
        told["library_to_handwritten"] = best["library"] / best["handwritten"]
    return told


def show(row: dict[str, Any]) -> None:
    """Print the table of one case."""
    name = row["case"]["name"]
    sizes = {key: value for key, value in row["case"].items() if key != "name"}
    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in sizes.items()))
    print(f"{row['model_flops'] / 1e9:.1f} GFLOP; best product {row['rate'] / 1e9:.0f} GFLOP/s")
    print("| way | CPU s | median | wall s | rounds | to library | goal | of best rate | goal |")
    print("| --- " * 9 + "|")
    for way, told in row["ways"].items():
        ratio = "" if told["ratio"] is None else f"{told['ratio']:.3g}"
        goal = "" if told["goal"] is None else f">= {told['goal']}"
        mine = f">= {GEMM_GOAL[name]}" if way == "library" and name in GEMM_GOAL else ""
        print(
            f"| {way} | {told['cpu_s']:.4g} | {told['cpu_s_median']:.4g} | {told['wall_s']:.4g} "
            f"| {told['rounds']} | {ratio} | {goal} | {told['share_of_rate']:.2f} | {mine} |"
        )
    if "library_to_handwritten" in row:
        ratio = row["library_to_handwritten"]
        print(f"library / handwritten {ratio:.3f} (goal <= {OVERHEAD_GOAL:.2f})")
    for way, gaps in row["differences"].items():
        print(f"  {way}: " + ", ".join(f"{key} {gap:.0e}" for key, gap in gaps.items()))
    sys.stdout.flush()


def pythons(given: argparse.Namespace) -> dict[str, str]:
    """The interpreter of each way that has one; a word about those that have none."""
    found = dict.fromkeys(QUICK, sys.executable)
    found |= {"torch_loop": given.torch_python, "nt_structured": given.nt_python}
    chosen = given.ways or (QUICK if given.quick else WAYS)
    for way in chosen:
        if not found[way]:
            option = "--torch-python" if way == "torch_loop" else "--nt-python"
            print(f"{way} is left out: name its environment with {option}.")
    return {way: found[way] for way in WAYS if way in chosen and found[way]}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny case, a few seconds")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES][1:])
    parser.add_argument("--ways", nargs="+", choices=WAYS)
    parser.add_argument("--torch-python", help="python of requirements-torch.txt")
    parser.add_argument("--nt-python", help="python of requirements-nt.txt")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", default="0", help="core to pin every way to")
    parser.add_argument("--budget", type=float, default=60.0, help="CPU s of a way and case")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    given = options()
    children = [Child(way, python, given.cores) for way, python in pythons(given).items()]
    tiny = check_tiny(children)
    worst = max(max(gaps.values()) for gaps in tiny.values())
    print(f"float64, tiny: every way within {worst:.0e} of the truth")
    rows = []
    rounds = 1 if given.quick else given.rounds
    for name in ["tiny"] if given.quick else given.cases:
        rows.append(measure(children, CASES[name], rounds, given.budget))
        show(rows[-1])
    for child in children:
        child.end()
    told = {
        "cpu": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "versions": {child.way: child.versions for child in children},
        "float64_differences": tiny,
        "rows": rows,
    }
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
