"""Claims on structured layers: they hold, and spoilt records fail, as long tests."""

import re

import pytest
from support.claims import check_claim

from gramdyn.experiments import CLAIMS, structured_digits, structured_noise
from gramdyn.experiments.reproduce import config_file
from gramdyn.experiments.structured_models import n_trained
from gramdyn.plan.build import build_task
from gramdyn.plan.jobs import expand
from gramdyn.plan.load import load_config

# What of a claim's runs is enough to show it (none: all of them), and how one record is spoilt:
# result, array, what becomes of it.
CASES = {
    "structured-kernels": ([], (0, "layer", lambda x: x + 1e-11)),
    "structured-depth": ([], (0, "log_condition", lambda x: 1.2 * x)),
    "structured-noise": (["sweep.seed={count: 3}"], (1, "noisy_accuracy", lambda x: x + 0.2)),
    "structured-smoothness": ([], (0, "top_eigenvalues", lambda x: x[..., ::-1])),
    "structured-digits": ([], (3, "heldout_accuracy", lambda x: 0.0 * x + 0.94)),
    "structured-rates": ([], (0, "rate", lambda x: x**1.3)),
}


def test_every_claim_has_a_case():
    assert CASES.keys() == {name for name in CLAIMS if name.startswith("structured-")}


def place_of(value):
    """A value of an axis as results tell it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return value


def counted(config):
    """Trained numbers of the network of a configuration."""
    task, network = build_task(config), config.network
    parts = {name: dict(getattr(network, name)) for name in ("pathway", "correction")}
    biases = {"bias": network.bias, "readout_bias": network.readout_bias}
    sizes = len(network.layer_widths), task.n_inputs, network.layer_widths[0], task.n_outputs
    return n_trained(*sizes, **parts, **biases)


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("structured-noise", structured_noise.MODELS),
        ("structured-digits", structured_digits.SHALLOW),
    ],
)
def test_counts_in_names_are_those_of_the_networks(name, models):
    jobs = [expand(load_config(config_file(one))) for one in CLAIMS[name].configs]
    told = {model.name: re.search(r"\((\d+)\)", model.name) for model in models}
    assert sum(found is not None for found in told.values()) >= 9
    for model in (model for model in models if told[model.name]):
        wanted = {f"network.{axis}": value for axis, value in model.place.items()}
        own = next(
            job
            for job in jobs[model.tree]
            if all(place_of(job.place[axis]) == value for axis, value in wanted.items())
        )
        assert counted(own.config) == int(told[model.name][1]), model.name


def test_the_deep_networks_compared_by_their_numbers_are_those_of_the_configuration():
    for job in expand(load_config(config_file("structured-digits-deep"))):
        kind = job.config.network.pathway.kind
        wanted = n_trained(*structured_digits.DEEP_SIZES, pathway=kind)
        if job.seed == 0:
            assert counted(job.config) == wanted


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes about 600 s on a free core
@pytest.mark.parametrize("name", CASES)
def test_claims_hold_and_spoilt_records_do_not(name, tmp_path):
    check_claim(name, tmp_path, *CASES[name])
