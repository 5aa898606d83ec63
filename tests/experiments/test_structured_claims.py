"""Claims on structured layers: whole claims hold, and spoilt records fail, as long tests."""

import pytest
from support.claims import check_claim

from gramdyn.experiments import CLAIMS

# How one record of each claim is spoilt: result, array, what becomes of it. None has a small case:
# nothing smaller shows what they claim.
SPOILT = {
    "structured-kernels": (0, "layer", lambda x: x + 1e-11),
    "structured-depth": (0, "log_condition", lambda x: 1.2 * x),
    "structured-noise": (1, "noisy_accuracy", lambda x: x + 0.2),
    "structured-smoothness": (0, "top_eigenvalues", lambda x: x[..., ::-1]),
    "structured-digits": (3, "heldout_accuracy", lambda x: 0.0 * x + 0.94),
    "structured-rates": (0, "rate", lambda x: x**1.3),
}


def test_every_claim_has_a_case():
    assert SPOILT.keys() == {name for name in CLAIMS if name.startswith("structured-")}


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the longest takes about 400 s on two free cores
@pytest.mark.parametrize("name", SPOILT)
def test_whole_claims_hold(name, tmp_path):
    check_claim(name, tmp_path, [], SPOILT[name])
