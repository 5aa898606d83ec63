"""Diagnostics of an autoencoder, each from its codes by plain NumPy."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.data import task_images
from gramdyn.diagnostics import make_diagnostic
from gramdyn.models import init_autoencoder, make_activation
from gramdyn.systems import make_vae_system

LATENT, STEPS = 3, 20


@pytest.fixture(scope="module")
def task():
    return gd.digits(classes=(0, 1, 2), n_samples=24, centre=False, norm=3.0)


def system_of(task):
    options = {"activation": make_activation("gelu"), "parametrization": "uniform"}
    options |= {"train_readout": True, "bias": True, "readout_bias": True}
    keys = tuple(jax.random.split(jax.random.key(0)))
    network = init_autoencoder(keys, 64, (12,), LATENT, **options)
    return make_vae_system(network, task_images(task), noise=jax.random.key(3), beta=0.3)


@pytest.fixture(scope="module")
def run(task):
    system = system_of(task).in_batches(jax.random.key(4), 5, STEPS)
    joined = make_diagnostic("interpolation", per_class=2, points=5)
    record = gd.Record(["loss", "elbo_terms", "latent_linearity", joined], every=STEPS)
    return system, gd.simulate(system, gd.Optax("adam", 0.01), STEPS, record)


@pytest.mark.parametrize("place", [0, -1])
def test_terms_are_those_of_the_loss(run, place):
    system, found = run
    state = found.state if place else system.initial_state()
    fields = system.fields(state)
    inputs, logits = np.asarray(fields.inputs), np.asarray(fields.logits)
    pixels = 1 / (1 + np.exp(-logits))
    wanted = -(inputs * np.log(pixels) + (1 - inputs) * np.log1p(-pixels)).sum(axis=1).mean()
    np.testing.assert_allclose(found["reconstruction"][place], wanted, rtol=1e-12)
    mean, log = np.asarray(fields.means), np.asarray(fields.log_variances)
    wanted = (mean**2 + np.exp(log) - 1 - log).sum(axis=1).mean() / 2
    np.testing.assert_allclose(found["kl"][place], wanted, rtol=1e-12)
    whole = found["reconstruction"] + 0.3 * found["kl"]
    np.testing.assert_allclose(found["loss"], whole, rtol=1e-13)


def means_of(system, state):
    network = eqx.combine(state, system.start.partition()[1])
    return network, np.asarray(network.encoder(system.inputs))[:, :LATENT]


def test_linearity_is_the_share_that_least_squares_explains(run, task):
    system, found = run
    _, means = means_of(system, found.state)
    design = np.column_stack([means, np.ones(24)])
    inputs = np.asarray(task.inputs)
    fit = design @ np.linalg.lstsq(design, inputs, rcond=None)[0]
    centred = inputs - inputs.mean(axis=0)
    wanted = 1 - ((inputs - fit) ** 2).sum() / (centred**2).sum()
    np.testing.assert_allclose(found["latent_linearity"][-1], wanted, rtol=1e-10)
    assert int(found["latent_rank"][-1]) == LATENT
    np.testing.assert_allclose(found["latent_null"][-1], LATENT / 23)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    ceiling = values[:LATENT].sum() / values.sum()
    np.testing.assert_allclose(found["latent_ceiling"], [ceiling, ceiling], rtol=1e-12)
    assert np.all(found["latent_linearity"] < ceiling)


def test_lines_are_those_of_pairs_of_two_classes(run, task):
    system, found = run
    network, means = means_of(system, found.state)
    inputs, labels = np.asarray(task.inputs), np.asarray(task.labels)
    curve, paths = np.zeros(5), []
    for one, two in itertools.combinations(range(3), 2):
        for j in range(2):
            a, b = (np.flatnonzero(labels == kind)[j] for kind in (one, two))
            path = []
            for k in range(5):
                lam = k / 4
                code = lam * means[a] + (1 - lam) * means[b]
                logits = np.asarray(network.decoder(jnp.asarray(code[None])))[0]
                path.append(1 / (1 + np.exp(-logits)))
                line = lam * inputs[a] + (1 - lam) * inputs[b]
                curve[k] += np.mean((path[-1] - line) ** 2) / 6
            paths.append(np.array(path))
    np.testing.assert_allclose(found["interpolation_error"][-1], curve, rtol=1e-10)
    np.testing.assert_allclose(found["interpolation_mean"][-1], curve.mean(), rtol=1e-10)
    np.testing.assert_allclose(found["interpolation_middle"][-1], curve[2], rtol=1e-10)
    np.testing.assert_allclose(found["interpolation_ends"][-1], curve[[0, -1]].mean(), rtol=1e-10)
    share = np.linspace(0, 1, 5)[:, None]
    off = [np.sum((p - p[0] - share * (p[-1] - p[0])) ** 2, axis=1).mean() for p in paths]
    size = [np.sum((p[-1] - p[0]) ** 2) for p in paths]
    np.testing.assert_allclose(
        found["interpolation_bend"][-1], np.mean(off) / np.mean(size), rtol=1e-10
    )


def test_scale_of_the_means_is_not_seen_by_linearity_and_is_by_the_divergence(run):
    """The readout's rows of the means made ten times smaller, as where codes collapse."""
    system, _ = run
    state = system.initial_state()

    def shrink(state):
        shrunk = jnp.where(jnp.arange(2 * LATENT) < LATENT, 0.1, 1.0)
        layer = state.encoder.layers[-1]
        both = shrunk[:, None] * layer.weight, shrunk * layer.bias
        where = lambda s: (s.encoder.layers[-1].weight, s.encoder.layers[-1].bias)  # noqa: E731
        return eqx.tree_at(where, state, both)

    linearity = make_diagnostic("latent_linearity")
    seen = []
    for one in (state, shrink(state)):
        fields = system.fields(one)
        values, _ = linearity.observe(linearity.start(fields, None), fields)
        seen.append((float(values["latent_linearity"]), float(fields.kl)))
    np.testing.assert_allclose(seen[0][0], seen[1][0], rtol=1e-10)
    assert seen[1][1] < seen[0][1]


def test_refusals(task):
    bare = system_of(gd.make_task(task.inputs, task.targets))
    with pytest.raises(gd.InputError, match="joins samples of two classes, but the task has none"):
        gd.simulate(bare, gd.GradientDescent(0.1), 1, gd.Record(["interpolation"]))
    joined = make_diagnostic("interpolation", per_class=9)
    with pytest.raises(gd.InputError, match="`per_class` must be at most 8, but is 9"):
        gd.simulate(system_of(task), gd.GradientDescent(0.1), 1, gd.Record([joined]))
    for key, value in (("per_class", 0), ("points", 1)):
        with pytest.raises(gd.InputError, match=f"`{key}` must be"):
            make_diagnostic("interpolation", **{key: value})
