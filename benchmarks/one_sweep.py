"""One sweep in a process of its own, and what it took: seconds, memory, programs.

    python one_sweep.py < ORDER.json

The order has `config`, a configuration as data, and `want`, what to tell beside seconds and
memory: "losses" of every run at its end, "programs" with their own memory analysis and time,
"again" (the same sweep once more, everything stored already), "profile" of where the time goes.
The answer is one line of JSON.

A process of its own, since the peak of a process never falls and its compiled programs stay.
"""

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

_COMPILED = "/jax/core/compile/backend_compile_duration"


def peak_bytes() -> int:
    """Most that this process has held at once.

    Not `ru_maxrss` where Linux says better: that begins with the peak of whoever started us.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(line[1]) for line in lines if line[0] == "VmHWM:") * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def count_compiles() -> Counter[str]:
    """Programs the backend compiles from now on, by name."""
    import jax

    found: Counter[str] = Counter()

    def listen(event: str, _: float, **told: Any) -> None:
        if event == _COMPILED:
            found[told.get("fun_name", "")] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


class Watch:
    """A listener that notes the peak of the process as the sweep gets on."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self.chunks = 0

    def begin(self, plan: Any) -> None:
        self.peaks["created"] = peak_bytes()

    def compiling(self, group: Any) -> None:
        self.peaks.setdefault("compiling", peak_bytes())

    def advance(self, group: Any, runs: int, failed: int) -> None:
        self.chunks += 1
        self.peaks.setdefault("first chunk", peak_bytes())

    def end(self) -> None:
        self.peaks["end"] = peak_bytes()


class Clock:
    """CPU and wall seconds since it was made, or since the last lap."""

    def __init__(self) -> None:
        self.begun = self.last = self._now()

    def lap(self) -> dict[str, float]:
        last, self.last = self.last, self._now()
        return {name: self.last[name] - last[name] for name in last}

    def whole(self) -> dict[str, float]:
        return {name: now - self.begun[name] for name, now in self._now().items()}

    @staticmethod
    def _now() -> dict[str, float]:
        return {"cpu": time.process_time(), "wall": time.perf_counter()}


def sweep(order: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run it, and tell what `want` asks."""
    import jax

    from gramdyn.plan.load import parse_config
    from gramdyn.plan.plan import make_plan
    from gramdyn.sweep.run import run_plan

    jax.local_devices()  # the backend's own start belongs to no sweep
    watch, compiles, clock = Watch(), count_compiles(), Clock()
    watch.peaks["imported"] = peak_bytes()
    plan = make_plan(parse_config(json.dumps(order["config"])))
    watch.peaks["planned"] = peak_bytes()
    announced, planning = plan.peak_bytes, clock.lap()
    tally = run_plan(plan, folder, watch)
    told = {
        "announced": announced,
        "peak": watch.peaks["end"],
        "peaks": watch.peaks,
        "plan": planning,
        "run": clock.lap(),
        "all": clock.whole(),
        "chunks": watch.chunks,
        "tally": tally.summary(),
        "compiles": dict(compiles),
        "groups": [about(group) for group in plan.groups],
    }
    for wish in order["want"]:
        told[wish] = WISHES[wish](plan, folder)
    return told


def about(group: Any) -> dict[str, Any]:
    """What was planned of a group."""
    cost = {"record_bytes": group.cost.record_bytes, "work_bytes": group.cost.work_bytes}
    return {
        "name": group.name,
        "widths": group.widths,
        "runs": len(group.jobs),
        "chunk": group.chunk,
        "flops": group.cost.flops,
        **cost,
    }


def losses(plan: Any, folder: Path) -> list[float]:
    """Last loss of every run, ordered by width and seed."""
    import numpy as np

    import gramdyn as gd

    rows = []
    for node in gd.open(folder).children.values():
        last = np.asarray(node["loss"])[..., -1]
        places = (np.asarray(node[name]).tolist() for name in ("width", "seed"))
        rows += list(zip(*places, last.tolist(), strict=True))
    return [loss for *_, loss in sorted(rows)]


def programs(plan: Any, folder: Path) -> list[dict[str, float]]:
    """Of each group's program: bytes by its own analysis, seconds to compile it and of its runs."""
    import jax

    from gramdyn.sweep.compute import compile_group, start_chunk

    found = []
    jax.clear_caches()  # so that it compiles anew, and the seconds are those of compiling
    for group in plan.groups:
        clock = Clock()
        program, compiling = compile_group(group, plan), clock.lap()["cpu"]
        for start in group.starts:
            jax.block_until_ready(start_chunk(program, group, plan, start))
        held = program.compiled.memory_analysis()
        sizes = ("argument", "output", "temp", "generated_code")
        found.append({name: getattr(held, f"{name}_size_in_bytes") for name in sizes})
        found[-1] |= {**clock.lap(), "compiling": compiling}
    return found


def again(plan: Any, folder: Path) -> dict[str, dict[str, float]]:
    """The same sweep over its finished folder, which checks every chunk; opening what it holds."""
    import gramdyn as gd
    from gramdyn.sweep.run import run_plan

    clock = Clock()
    run_plan(plan, folder)
    checking = clock.lap()
    for node in gd.open(folder).children.values():
        node["loss"].load()
    return {"checking": checking, "reading": clock.lap()}


def profile(plan: Any, folder: Path) -> dict[str, list[str]]:
    """Functions of the package with most time in and below them, and of all with most in them."""
    import cProfile
    import pstats

    from gramdyn.plan.plan import make_plan
    from gramdyn.sweep.run import run_plan

    watch = cProfile.Profile()
    watch.enable()
    run_plan(make_plan(plan.config), folder.with_name("profiled"))
    watch.disable()
    stats = pstats.Stats(watch).stats
    mine = {key: row for key, row in stats.items() if "gramdyn" in key[0]}
    return {"below": _lines(mine, 3, 24), "in": _lines(stats, 2, 16)}


def _lines(stats: dict[Any, Any], column: int, count: int) -> list[str]:
    """The largest of a column: seconds, calls, where."""
    top = sorted(stats.items(), key=lambda item: item[1][column], reverse=True)[:count]
    return [
        f"{row[column]:8.3f} s {row[1]:9d} calls  {'/'.join(Path(file).parts[-2:])}:{line} {name}"
        for (file, line, name), row in top
    ]


WISHES = {one.__name__: one for one in (losses, programs, again, profile)}


def main() -> None:
    order = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(sweep(order, Path(folder) / "out")))


if __name__ == "__main__":
    main()
