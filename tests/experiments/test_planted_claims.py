"""Claims on planted maps: they hold and a spoilt record fails, three on fewer seeds, all of them as
long tests.
"""

import pytest
from support.claims import check_claim

from gramdyn.experiments import CLAIMS

# How one record is spoilt: result, array, what becomes of it.
SPOILT = {
    "planted-formulas": (0, "hessian", lambda x: x + 1e-6),
    "planted-success": (0, "gains", lambda x: 1.01 * x),
    "planted-times": (0, "phase_steps", lambda x: x + 5),
    "planted-escape": (0, "loss", lambda x: x + 1e-6),
    "planted-landscape": (0, "slope", lambda x: x + 1e-9),
    "planted-scale": (0, "success", lambda x: 1 - x),
    "planted-tail": (0, "population_loss", lambda x: x**0.8),
    "planted-pairing": (0, "pair_cosine", lambda x: 0.99 * x),
    "planted-drift": (0, "imbalance_gap", lambda x: x + 1e-9),
    "planted-closure": (0, "outputs", None),
    "planted-samples": (0, "success", lambda x: 1 - x),
}
# Seeds of a sweep of seconds.
SMALL = {"planted-times": 12, "planted-escape": 3, "planted-tail": 3}


def test_every_claim_has_a_case():
    assert SPOILT.keys() == {name for name in CLAIMS if name.startswith("planted-")}


@pytest.mark.parametrize("name", SMALL)
def test_small_runs_hold_and_a_spoilt_record_does_not(name, tmp_path):
    check_claim(name, tmp_path, [f"sweep.seed={{count: {SMALL[name]}}}"], SPOILT[name])


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes 100 s on two free cores
@pytest.mark.parametrize("name", SPOILT)
def test_whole_claims_hold(name, tmp_path):
    check_claim(name, tmp_path, [], SPOILT[name])
