import subprocess
import sys
import time
from pathlib import Path

import pytest

from gramdyn.experiments import CLAIMS

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "configs" / "smoke" / "tiny.yaml")


def gramdyn(*words, **options):
    command = [sys.executable, "-m", "gramdyn", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_help_answers_in_a_second_without_jax():
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        done = gramdyn("--help")
        times.append(time.perf_counter() - begun)
        assert done.returncode == 0
    for command in ("run", "plan", "status", "report", "list", "verify", "paper", "doctor"):
        assert command in done.stdout
    # The best of three: the machine may be busy with something else.
    assert min(times) < 1.0
    code = "import sys, gramdyn.cli; sys.exit('jax' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_run_list_and_report_end_to_end(tmp_path):
    folder = tmp_path / "run"
    done = gramdyn("run", TINY, "-o", str(folder))
    assert done.returncode == 0, done.stderr
    assert "24 runs in 2 programs" in done.stdout
    assert "24 runs computed, 0 reused, 8 failed" in done.stdout
    assert "what came out" in done.stdout
    listed = gramdyn("list", str(folder))
    assert "8 ok" in listed.stdout
    assert "4 diverged" in listed.stdout
    assert "layer_kernels" in listed.stdout
    reported = gramdyn("report", str(folder))
    assert reported.returncode == 0, reported.stderr
    assert (folder / "report.html").stat().st_size > 1e5


def test_plan_computes_nothing(tmp_path):
    done = gramdyn("plan", TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "24 runs in 2 programs" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", TINY, "--set", "network.widht=3"], "did you mean `width`"),
        (["run", TINY, "--set", "network.depth=-1"], "network.depth"),
        (["run", TINY, "--set", "network.activation=rleu"], "did you mean `relu`"),
        (
            [
                *["run", TINY, "--set", "coordinates=gram", "--set", "sweep={seed: {count: 2}}"],
                *["--set", "scheme={kind: optax, optimizer: adam, step_size: 0.1, n_steps: 4}"],
            ],
            "use coordinates 'weights'",
        ),
        (["run", TINY, "-o", "/dev/null/run"], "cannot be written"),
        (["run", "none.yaml"], "cannot be read"),
        (["report", "."], "manifest"),
        (["list", "."], "manifest"),
        (["paper", "lazy-limt"], "did you mean `lazy-limit`"),
        (["paper", "lazy-limit", "--set", "network.widht=3"], "did you mean `width`"),
        (
            ["run", TINY, "--set", "record.of=[{name: closure_error, closures: [froze]}]"],
            "did you mean `frozen`",
        ),
        (
            [
                *["plan", TINY, "--set", "scheme.momentum=0.9"],
                *["--set", "record.of=[{name: closure_error, closures: [exact]}]"],
            ],
            "without momentum and decay",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_two(words, told, tmp_path):
    done = gramdyn(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_paper_lists_claims_with_their_sources():
    done = gramdyn("paper", "--list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CLAIMS)
    assert all("arXiv" in line or "derived here" in line for line in lines)


def test_paper_prints_predicted_beside_measured_and_its_status_says_whether_it_holds(tmp_path):
    few = ["--set", "sweep.seed={count: 2}", "--set", "sweep.task.seed={count: 1}"]
    short = ["--set", "scheme.n_steps=40", "--set", "record.every=20"]
    shallow = ["--set", "sweep.network.depth=[1]"]
    words = ["paper", "exact-fields", *few, *short, *shallow]
    done = gramdyn(*words, "-o", str(tmp_path / "right"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 hold" in done.stdout
    assert (tmp_path / "right" / "exact-fields.png").exists()
    # The mean-field parametrisation is not lazy at any width.
    rich = ["--set", "network.parametrization=mean_field", "-o", str(tmp_path / "wrong")]
    widths = ["--set", "sweep.network.width=[16, 64]"]
    done = gramdyn("paper", "lazy-limit", *few, *short, *widths, *rich)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILS" in done.stdout


def test_doctor_finds_this_toolchain_sound():
    done = gramdyn("doctor")
    assert done.returncode == 0, done.stdout
    assert "canary" in done.stdout
    assert "right" in done.stdout
