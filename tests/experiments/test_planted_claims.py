"""Claims on planted maps: small runs hold, a spoilt record fails, whole claims as long tests."""

import pytest
from support.claims import check_claim
from support.marks import with_long

from gramdyn.experiments import CLAIMS, planted_formulas, planted_landscape

# Changes that make a claim small, and how one record is spoilt: result, array, what becomes of it.
SMALL = {
    "planted-formulas": ([], (0, "hessian", lambda x: x + 1e-6)),
    "planted-success": (
        ["sweep.seed={count: 25}", "sweep.network.width=[2, 3, 6]"],
        (0, "gains", lambda x: 1.01 * x),
    ),
    "planted-times": (["sweep.seed={count: 12}"], (0, "phase_steps", lambda x: x + 5)),
    "planted-escape": (["sweep.seed={count: 3}"], (0, "loss", lambda x: x + 1e-6)),
    "planted-landscape": ([], (0, "slope", lambda x: x + 1e-9)),
    "planted-scale": (["sweep.seed={count: 25}"], (0, "success", lambda x: 1 - x)),
    "planted-tail": (["sweep.seed={count: 3}"], (0, "population_loss", lambda x: x**0.8)),
    "planted-pairing": (["sweep.seed={count: 12}"], (0, "pair_cosine", lambda x: 0.99 * x)),
    "planted-drift": (["sweep.seed={count: 10}"], (0, "imbalance_gap", lambda x: x + 1e-9)),
    "planted-closure": (["sweep.seed={count: 2}"], (0, "outputs", None)),
    # Few data sets decide no share, so that it runs whole alone.
    "planted-samples": (None, (0, "success", lambda x: 1 - x)),
}
# A sixth of a minute or more.
LONG = {
    *("planted-scale", "planted-pairing", "planted-closure", "planted-success"),
    *("planted-landscape", "planted-drift", "planted-formulas", "planted-times"),
}


def test_every_claim_has_a_case():
    assert SMALL.keys() == {name for name in CLAIMS if name.startswith("planted-")}


@pytest.mark.parametrize(
    "name", with_long((name for name, (changes, _) in SMALL.items() if changes is not None), LONG)
)
def test_small_runs_hold_and_a_spoilt_record_does_not(name, tmp_path, monkeypatch):
    monkeypatch.setattr(planted_formulas, "SAMPLES", 400_000)
    searched = planted_landscape.searched
    monkeypatch.setattr(planted_landscape, "searched", lambda k, n, seed: searched(k, 3, seed))
    check_claim(name, tmp_path, *SMALL[name])


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes 100 s on two free cores
@pytest.mark.parametrize("name", SMALL)
def test_whole_claims_hold(name, tmp_path):
    check_claim(name, tmp_path, [], SMALL[name][1])
