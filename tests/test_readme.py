"""What README and CONTRIBUTING show runs."""

import re
from pathlib import Path

import jax
import pytest

import gramdyn as gd
from gramdyn.data.registry import TASKS
from gramdyn.diagnostics import DIAGNOSTICS
from gramdyn.dynamics import SCHEMES
from gramdyn.experiments import CLAIMS
from gramdyn.models import (
    ACTIVATIONS,
    CORRECTIONS,
    PARAMETRIZATIONS,
    PATHWAYS,
    AbstractPathway,
)
from gramdyn.plan import load_config, make_plan, parse_config
from gramdyn.plan.jobs import expand
from gramdyn.sweep import run_sweep

ROOT = Path(__file__).parents[1]


def blocks(file, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def test_ten_lines_and_opening_run(tmp_path, capsys):
    program, opening = blocks("README.md", "python")
    scope = {}
    exec(program, scope)
    assert "8 run(s): 8 ok" in capsys.readouterr().out
    assert scope["result"]["layer_kernels"].shape == (8, 11, 2, 32, 1, 32, 1)
    scope["folder"] = tmp_path / "run"
    run_sweep(load_config(ROOT / "configs/smoke/tiny.yaml"), scope["folder"])
    exec(opening, scope)
    assert scope["node"]["loss"].dims == ("run", "step")


def lines_of(page, capsys):
    """What the program of a page prints, line by line; it may ask for float64."""
    (program,) = blocks(page, "python")
    before = jax.config.jax_enable_x64
    try:
        exec(program, {})
    finally:
        jax.config.update("jax_enable_x64", before)
    return capsys.readouterr().out.splitlines()


def test_program_of_the_page_on_linear_networks_runs(capsys):
    lines = lines_of("docs/deep-linear.md", capsys)
    assert "(0, 1) 0.5 nonstrict_saddle 3" in lines
    assert "global_min" in lines
    assert lines[-1].startswith("2 3 0.19245")  # sigma L^(-L/2)


def test_program_of_the_page_on_both_layers_runs(capsys):
    lines = lines_of("docs/both-layers.md", capsys)
    assert lines[0].endswith(" 0.875")
    assert lines[1] == "1.0"  # the sign rule, for every seed
    assert float(lines[2]) < 1e-12
    assert lines[-1] == "nonstrict_saddle"


def test_program_of_the_page_on_feature_learning_runs(capsys):
    (program,) = blocks("docs/feature-learning.md", "python")
    exec(program, {})
    *layers, few, own = capsys.readouterr().out.splitlines()
    assert [line[5:13] for line in layers] == ["(rank 48", "(rank 47", "(rank 48", "(rank 48"]
    values = [float(line.split()[0]) for line in layers]
    assert values == sorted(values)
    assert len(few.split()) == 4
    assert len(own.split()) == 2


def test_program_of_the_page_on_structured_layers_runs(capsys):
    (program,) = blocks("docs/structured-layers.md", "python")
    scope = {}
    exec(program, scope)
    shape = capsys.readouterr().out.splitlines()[-1]
    assert shape == "(5, 60, 3, 60, 3)"
    accuracy = scope["result"]["heldout_accuracy"]
    assert accuracy[-1] > accuracy[0] + 0.3
    # tanh and an orthogonal matrix, a bottleneck beside it: above 1, and not by much
    assert 1 <= scope["result"]["lipschitz"][0, 1] < 2


def test_program_of_the_hierarchy_page_runs(capsys):
    (program,) = blocks("docs/hierarchy.md", "python")
    scope = {}
    exec(program, scope)
    transport, pullback, errors = capsys.readouterr().out.splitlines()
    assert transport.startswith("[0.")
    assert pullback.rstrip("]").split()[-2:] == ["0.", "0."]
    assert errors.count(".") == 3
    # The fields alone give the run of the network.
    network = gd.simulate(scope["system"], gd.euler(0.002), 500, gd.Record(["residual"], every=50))
    gap = abs(network["residual"] - scope["again"]["residual"]).max()
    assert gap < 1e-12  # rounding over 500 steps in float64


def test_config_of_the_readme_is_valid():
    (text,) = blocks("README.md", "yaml")
    assert make_plan(parse_config(text)).n_runs == 16 * 3 * 4


def test_the_map_of_claims_names_every_claim_and_its_source():
    rows = [line.split(" | ") for line in (ROOT / "README.md").read_text().splitlines()]
    told = {
        row[2].strip("` ").removeprefix("gramdyn paper "): row[1] for row in rows if len(row) == 4
    }
    assert {name: told.get(name) for name in CLAIMS} == {
        name: claim.told_source for name, claim in CLAIMS.items()
    }


def test_readme_names_every_choice():
    text = (ROOT / "README.md").read_text()
    known = [*TASKS, *ACTIVATIONS, *PARAMETRIZATIONS, *SCHEMES, *DIAGNOSTICS]
    known += [*PATHWAYS, *CORRECTIONS]
    missing = [name for name in known if name not in text]
    assert missing == []


def test_contributing_examples_run():
    registries = [(one, dict(one)) for one in (DIAGNOSTICS, TASKS, PATHWAYS)]
    try:
        scope = {}
        for program in blocks("CONTRIBUTING.md", "python"):
            exec(program, scope)
        task = scope["parity"](n_samples=5, n_inputs=3)
        assert set(task.targets.ravel()) <= {-1.0, 1.0}
        config = parse_config(
            "task: {kind: parity, n_samples: 5, n_inputs: 3}\nnetwork: {width: 4, depth: 1}\n"
            "scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 2}\nrecord: {of: [margin]}\n"
        )
        (group,) = make_plan(config).groups
        assert group.shapes["margin"].shape == (3, 5)
        check_pathway(scope["Symmetric"])
    finally:
        for registry, before in registries:
            registry.clear()
            registry.update(before)


def check_pathway(kind):
    """A pathway of a reader's own: its lines, its kernel by both ways, and it in a sweep."""
    (program,) = [one for one in blocks("CONTRIBUTING.md", "python") if "class Symmetric" in one]
    lines = program[program.index("@register_pathway") :].splitlines()
    assert len([line for line in lines if line.strip()]) < 30
    pathway = kind(4, 4, key=jax.random.key(0))
    keys = jax.random.split(jax.random.key(1))
    act, sens = jax.random.normal(keys[0], (3, 4)), jax.random.normal(keys[1], (3, 2, 4))
    found, wanted = pathway.kernel(act, sens), AbstractPathway.kernel(pathway, act, sens)
    assert abs(found - wanted).max() < 1e-13
    config = parse_config(
        "task: {kind: gaussian, n_samples: 5, n_inputs: 3}\n"
        "network: {kind: enriched, width: 4, depth: 2, readout: trained, pathway: symmetric}\n"
        "scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 2}\n"
        "sweep: {network.pathway.gain: [0.5, 1.0], network.correction: [none, bottleneck]}\n"
    )
    assert [len(group.jobs) for group in make_plan(config).groups] == [2, 2]


# Of many programs, or of many layers: tracing all of them takes half a minute each, and the long
# tests of their claims run them.
LONG = {
    *("structured-noise", "structured-digits", "structured-smoothness"),
    *("structured-digits-deep", "structured-digits-deep-beside", "structured-digits-deep-residual"),
    *("structured-smoothness-beside", "structured-smoothness-residual", "structured-depth"),
}
CONFIGS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in sorted((ROOT / "configs").rglob("*.yaml"))
]


@pytest.mark.parametrize("path", CONFIGS)
def test_shipped_configs_are_valid(path):
    assert make_plan(load_config(path)).n_runs > 0


@pytest.mark.parametrize("name", sorted(LONG))
def test_jobs_of_long_configs_are_valid(name):
    (path,) = (ROOT / "configs").rglob(f"{name}.yaml")
    assert len(expand(load_config(path))) > 10


PAGES = [
    *("README.md", "CONTRIBUTING.md", "benchmarks/README.md"),
    *("docs/hierarchy.md", "docs/deep-linear.md", "docs/both-layers.md"),
    *("docs/feature-learning.md", "docs/structured-layers.md"),
]


@pytest.mark.parametrize("file", PAGES)
def test_links_within_the_project_lead_somewhere(file):
    text = (ROOT / file).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / file).parent.joinpath(target).exists(), target
