"""What do two cores gain: as two devices with a run each, or as two threads of one device?

    one core        one device, on one core
    two threads     one device, as JAX starts by default on two cores
    two devices     two host devices, runs split over them, as the command line starts
    a thread each   two host devices, their products in one thread each

    python benchmarks/devices.py [--quick] [--rounds 5] [--core 0] [--out FILE]

The work is the library's (`peers/library.py`), float32, everything recorded. The number of devices
is fixed when JAX starts, so each way is a process of its own, which stays for all rounds; the ways
take turns, so only one computes at a time. They must first give the same losses.

What a way gains is the CPU seconds of one core, which are its wall seconds where nobody disturbs
it, over its own wall seconds. Those mean something on an idle machine alone, so the load average
stands beside them, and the cores that the way got: CPU over wall seconds.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from problem import CASES, Case

GOAL = 1.7  # times that two devices are faster than one core, on an idle machine
SAME_LOSS = 1e-3  # the same float32 sums in another order
_SINGLE = "--xla_cpu_multi_thread_eigen=false"
WAYS = {
    "one core": (1, _SINGLE),
    "two threads": (1, ""),
    "two devices": (2, ""),
    "a thread each": (2, _SINGLE),
}
SEEDS = {"small": 256, "medium": 16}  # so that a call takes a second or more


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        case: Its name and seeds.
        wall: Wall seconds of each way, those of its fastest round.
        cpu: CPU seconds of the same round.
        faster: CPU seconds of one core over wall seconds of the way.
        load: Load averages at the end.
    """

    case: str
    wall: dict[str, float]
    cpu: dict[str, float]
    faster: dict[str, float]
    load: tuple[float, ...]


class Child:
    """A way in its own process."""

    def __init__(self, way: str, core: str):
        devices, flags = WAYS[way]
        pinned = ["taskset", "-c", core] if way == "one core" and shutil.which("taskset") else []
        self.seconds: list[list[float]] = []
        self.process = subprocess.Popen(
            [*pinned, sys.executable, __file__, "--serve", str(devices)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            text=True,
        )

    def ask(self, case: Case) -> dict[str, Any]:
        """[wall, cpu] seconds of the case, once, and its last losses."""
        self.process.stdin.write(json.dumps(asdict(case)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"A process ended with status {self.process.wait()}.")
        return json.loads(line)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(devices: int) -> None:
    """Do each case that a line of stdin describes; the first time, once before, to compile."""
    import jax
    import numpy as np
    from child import answer_with, timed
    from library import simulation

    jax.config.update("jax_num_cpu_devices", devices)
    answer, ready = answer_with(), {}
    for line in sys.stdin:
        if line not in ready:
            ready[line] = simulation(Case(**json.loads(line)), "float32")
            ready[line]()
        spent, found = timed(ready[line])
        answer({"seconds": spent, "losses": np.asarray(found["loss"])[:, -1].tolist()})


def measure(children: dict[str, Child], case: Case, rounds: int) -> Row:
    """All ways in turn, after their losses are compared."""
    first = {way: child.ask(case) for way, child in children.items()}
    wanted = first["one core"]["losses"]
    for way, told in first.items():
        pairs = zip(told["losses"], wanted, strict=True)
        assert all(abs(a - b) <= SAME_LOSS * abs(b) for a, b in pairs), f"{way}: other losses"
    spent = {way: [] for way in children}
    for _ in range(rounds):
        for way, child in children.items():
            spent[way].append(child.ask(case)["seconds"])
    wall, cpu = ({way: min(rounds)[i] for way, rounds in spent.items()} for i in (0, 1))
    alone = min(seconds for _, seconds in spent["one core"])
    faster = {way: alone / seconds for way, seconds in wall.items()}
    return Row(f"{case.name}, {case.seeds} seeds", wall, cpu, faster, os.getloadavg())


def show(row: Row) -> None:
    """Print the lines of one case."""
    for way in row.wall:
        goal = f">= {GOAL}" if way == "two devices" else ""
        cores = row.cpu[way] / row.wall[way]
        print(
            f"| {row.case} | {way} | {row.wall[way]:.4g} | {row.cpu[way]:.4g} | {cores:.2f} "
            f"| {row.faster[way]:.2f} | {goal} | {row.load[0]:.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny case, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", default="0", help="core of the way that has one")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve)
        return
    seeds = {"tiny": 4} if given.quick else SEEDS
    children = {way: Child(way, given.core) for way in WAYS}
    print("| case | way | wall s | CPU s | cores | faster than one core | goal | load |")
    print("| --- " * 8 + "|")
    rows = []
    for name, count in seeds.items():
        case = replace(CASES[name], seeds=count)
        rows.append(measure(children, case, 1 if given.quick else given.rounds))
        show(rows[-1])
    for child in children.values():
        child.end()
    if given.out:
        told = {"cores": os.cpu_count(), "rows": [asdict(row) for row in rows]}
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
