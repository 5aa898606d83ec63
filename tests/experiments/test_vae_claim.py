"""The claim on autoencoders: a short sweep's rows, records spoilt one by one, ranks by SciPy."""

import numpy as np
import pytest
import scipy.stats

from gramdyn.experiments import CLAIMS, reproduce
from gramdyn.experiments.reproduce import _results
from gramdyn.experiments.vae_interpolation import rank_correlation

NAME = "vae-interpolation"
JUDGED = (
    "beta 0.05: gain of linearity, any seed",
    "beta 0.05: seeds in which it rises every 20 epochs",
    "linearity at beta 0.05 over that at 10, means",
    "linearity at beta 0.1 over that at 10, means",
    "error at beta 0.1 over that at 4, any seeds",
    "linearity less its ceiling, any time",
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One seed, all of its epochs: a shorter run has not gained enough."""
    return reproduce(NAME, tmp_path_factory.mktemp("vae"), changes=["sweep.seed={count: 1}"])


def spoilt(tree, name, change, beta=None):
    """The results with one record changed, at one beta or all."""
    tree = tree.copy(deep=True)
    for node in tree.children.values():
        values = np.array(node[name])
        chosen = np.isclose(node["beta"], beta) if beta else np.ones(len(values), bool)
        values[chosen] = change(values[chosen])
        node[name] = node[name].copy(data=values)
    return tree


def test_every_row_holds_and_the_figure_shows_something(outcome):
    assert outcome.holds
    assert tuple(row.what for row in outcome.rows if row.holds) == JUDGED
    assert outcome.figure.stat().st_size > 10_000
    # Beside each linearity its divergence, since the one does not see the other vanish.
    told = [row.what for row in outcome.rows]
    for beta in ("0.05", "0.1", "1", "4", "10"):
        place = told.index(f"beta {beta}: linearity")
        assert told[place + 1] == f"beta {beta}: divergence KL"
        assert outcome.rows[place].predicted.startswith("elsewhere 0.")


@pytest.mark.parametrize(
    ("name", "change", "beta", "fails"),
    [
        ("latent_linearity", lambda x: x[:, :1] + (x - x[:, :1]) / 4, 0.05, {0, 2}),
        ("latent_linearity", lambda x: x + 0.1 * np.eye(17)[8], 0.05, {1}),
        ("latent_linearity", lambda x: x - 0.08, 0.1, {3}),
        ("latent_linearity", lambda x: x + 0.2, None, {5}),
        ("interpolation_mean", lambda x: 3 * x, 0.1, {4}),
        ("latent_ceiling", lambda x: x - 0.15, None, {5}),
    ],
)
def test_each_row_fails_where_its_record_is_spoilt(outcome, name, change, beta, fails):
    tree = _results(outcome.folders[0]).load()
    rows = CLAIMS[NAME].compare([spoilt(tree, name, change, beta)])
    judged = {row.what: row.holds for row in rows if row.holds is not None}
    assert tuple(judged) == JUDGED
    assert {what for what, holds in judged.items() if not holds} == {JUDGED[i] for i in fails}


def test_without_some_betas_what_is_left_is_told(outcome):
    tree = _results(outcome.folders[0]).load()
    (node,) = tree.children.values()
    node["status"][:] = np.where(np.isin(node["beta"], [0.1, 4.0]), 0, 2)
    rows = CLAIMS[NAME].compare([tree])
    assert JUDGED[4] in [row.what for row in rows]
    assert [row.what for row in rows if row.holds is not None] == list(JUDGED[4:])
    assert not any(row.what.startswith("beta 0.05") for row in rows)


def test_rank_correlation_is_spearmans():
    one, two = np.random.default_rng(0).normal(size=(2, 20))
    wanted = scipy.stats.spearmanr(one, one + two).statistic
    np.testing.assert_allclose(rank_correlation(one, one + two), wanted, rtol=1e-12)


@pytest.mark.slow
def test_whole_claim_holds(tmp_path):
    outcome = reproduce(NAME, tmp_path)
    assert outcome.holds
    assert sum(row.holds is True for row in outcome.rows) == len(JUDGED)
