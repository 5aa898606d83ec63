"""Claims on feature learning: small runs hold, spoilt records fail, whole claims as long tests."""

import pytest
from support.claims import check_claim

from gramdyn.experiments import CLAIMS

# Changes that make a claim small, and how one record is spoilt: result, array, what becomes of it.
# Where it is the training that is claimed, nothing smaller shows it, and the claim runs whole.
SMALL = {
    "features-swiss-roll": (["sweep.seed={count: 10}"], (0, "cloud_linearity", lambda x: 0.9 * x)),
    "features-whitening": (None, (0, "heldout_accuracy", lambda x: 0.0 * x + 0.9)),
    "features-layers": (None, (0, "linearity", lambda x: x[:, ::-1])),
    "features-staircase": (None, (0, "feature_residual", lambda x: x[:, ::-1])),
    "features-random-labels": (None, (0, "linearity", lambda x: x[:, ::-1])),
    "features-grokking": (None, (0, "heldout_accuracy", lambda x: 1.0 - x)),
    "features-collapse": (["sweep.task.seed=[0]"], (0, "collapse_bound", lambda x: 0.2 * x)),
    "features-gram": (None, (0, "learning_equation", lambda x: x + 1e-9)),
    "features-ansatz": ([], (0, "feature_ansatz", lambda x: x[..., ::-1])),
}


def test_every_claim_has_a_case():
    assert SMALL.keys() == {name for name in CLAIMS if name.startswith("features-")}


@pytest.mark.parametrize("name", [name for name, (small, _) in SMALL.items() if small is not None])
def test_small_runs_hold_and_a_spoilt_record_does_not(name, tmp_path):
    check_claim(name, tmp_path, *SMALL[name])


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes 130 s on two free cores
@pytest.mark.parametrize("name", SMALL)
def test_whole_claims_hold(name, tmp_path):
    check_claim(name, tmp_path, [], SMALL[name][1])
