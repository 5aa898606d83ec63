"""Claims on structured layers: whole claims hold, and spoilt records fail, as long tests."""

import pytest
from support.claims import check_claim

from gramdyn.experiments import CLAIMS

# Changes that make a claim small (None where nothing smaller shows it), and how one record is
# spoilt: result, array, what becomes of it.
SMALL = {
    "structured-kernels": (None, (0, "layer", lambda x: x + 1e-11)),
    "structured-depth": (None, (0, "log_condition", lambda x: 1.2 * x)),
    "structured-noise": (None, (1, "noisy_accuracy", lambda x: x + 0.2)),
    "structured-smoothness": (None, (0, "top_eigenvalues", lambda x: x[..., ::-1])),
    "structured-digits": (None, (3, "heldout_accuracy", lambda x: 0.0 * x + 0.94)),
    "structured-rates": (None, (0, "rate", lambda x: x**1.3)),
}


def test_every_claim_has_a_case():
    assert SMALL.keys() == {name for name in CLAIMS if name.startswith("structured-")}


@pytest.mark.parametrize("name", [name for name, (small, _) in SMALL.items() if small is not None])
def test_small_runs_hold_and_a_spoilt_record_does_not(name, tmp_path):
    check_claim(name, tmp_path, *SMALL[name])


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes about 400 s on two free cores
@pytest.mark.parametrize("name", SMALL)
def test_whole_claims_hold(name, tmp_path):
    check_claim(name, tmp_path, [], SMALL[name][1])
