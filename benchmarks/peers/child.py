"""One way in a process of its own, in whichever environment has what it needs.

    python child.py WAY

It reads commands from stdin, one a line, and answers each with one line of JSON:

    prepare CASE DTYPE   make ready; {}
    go                   the whole work once; [wall, cpu] seconds
    check FILE.npz       the same, and what came out goes to the file; [wall, cpu] seconds
    rate                 the best rate of a float32 product in this process, operations a second
"""

import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from problem import CASES, Case, Records

PACKAGES = ("gramdyn", "jax", "jaxlib", "torch", "neural-tangents", "numpy")


def set_precision(dtype: str) -> None:
    """Let JAX, where it is in use, compute in this precision."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", dtype == "float64")


def timed(run: Callable[[], Records]) -> tuple[list[float], Records]:
    """[wall, cpu] seconds of one call, and what it gave."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return [time.perf_counter() - wall, time.process_time() - cpu], found


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def answer_with() -> Callable[[Any], None]:
    """A function that writes answers to stdout, where from now on nobody else writes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(told: Any) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    return answer


def main() -> None:
    answer = answer_with()
    way = importlib.import_module(sys.argv[1])
    answer(versions())
    run: Callable[[], Records] | None = None
    case: Case | None = None
    for line in sys.stdin:
        command, *words = line.split()
        if command == "prepare":
            case = CASES[words[0]]
            set_precision(words[1])
            run = way.prepare(case, words[1])
            answer({})
        elif command == "rate":
            answer(importlib.import_module("gemm").best_rate(case))
        else:
            seconds, found = timed(run)
            if command == "check":
                np.savez(words[0], **found._asdict())
            answer(seconds)


if __name__ == "__main__":
    main()
