"""What `import gramdyn` offers, and what it does not do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gramdyn

# Written out, so that a name that comes or goes is a choice.
NAMES = {
    "AbstractDiagnostic",
    "AbstractSystem",
    "Activation",
    "Adaptive",
    "Closure",
    "ConfigError",
    "FieldSystem",
    "GradientDescent",
    "IncompleteError",
    "ImplicitMidpoint",
    "InputError",
    "MomentSystem",
    "Moments",
    "Network",
    "NetworkSystem",
    "OrthogonalSystem",
    "Optax",
    "PlantedSystem",
    "Population",
    "Record",
    "Relative",
    "Result",
    "RungeKutta4",
    "SquaredLoss",
    "Status",
    "Task",
    "__version__",
    "arrays",
    "clusters",
    "diagnostic",
    "digits",
    "enriched_network",
    "euler",
    "gaussian",
    "gram_whitening",
    "init_network",
    "leaky_relu",
    "limit_kernels",
    "linear",
    "linear_map",
    "linear_residual",
    "linearity_by_layer",
    "load_config",
    "make_field_system",
    "make_moment_system",
    "make_orthogonal_system",
    "make_planted_system",
    "make_plan",
    "make_system",
    "make_task",
    "mnist5k",
    "modular_addition",
    "monomials",
    "neural_collapse",
    "orthogonal",
    "pad_network",
    "planted_map",
    "relu",
    "run_sweep",
    "save_overview",
    "simulate",
    "simulate_many",
    "spirals",
    "swiss_roll",
    "tanh_teacher",
    "target_linearity",
    "task_moments",
    "task_population",
    "thin_network",
    "use_all_cores",
    "use_compile_cache",
    "write_report",
}


def _run(code: str) -> str:
    """What a fresh interpreter prints."""
    path = os.pathsep.join(
        [str(Path(gramdyn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_list_of_public_names() -> None:
    assert set(gramdyn.__all__) == NAMES
    assert len(gramdyn.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_there_and_documented(name: str) -> None:
    found = getattr(gramdyn, name)
    if callable(found):
        assert found.__doc__


@pytest.mark.parametrize(
    "part",
    ["data", "deep_linear", "kernels", "models", "planted", "systems", "dynamics", "diagnostics"],
)
def test_parts_and_their_lists(part: str) -> None:
    module = getattr(gramdyn, part)
    assert module.__name__ == f"gramdyn.{part}"
    for name in module.__all__:
        assert hasattr(module, name)
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), n.islower(), n))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = gramdyn.no_such_name


def test_importing_starts_no_jax() -> None:
    code = "import sys, gramdyn; dir(gramdyn); print('jax' in sys.modules, 'numpy' in sys.modules)"
    assert _run(code) == "False False"


def test_importing_everything_changes_no_setting_of_jax() -> None:
    code = (
        "import jax; before = dict(jax.config.values)\n"
        "import gramdyn; [getattr(gramdyn, name) for name in gramdyn.__all__]\n"
        "import gramdyn.sweep\n"
        "print(before == dict(jax.config.values))"
    )
    assert _run(code) == "True"
