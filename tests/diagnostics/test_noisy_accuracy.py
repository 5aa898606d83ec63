"""Accuracy in noise against a plain loop that takes the same noise."""

import jax
import numpy as np
import pytest
from support.chunks import compute, plan_of
from support.reference import numpy_descent, plain, random_network

import gramdyn as gd
from gramdyn.diagnostics import make_diagnostic

D, N, HELD_OUT, ETA, N_STEPS, DRAWS, SEED = 6, 60, 90, 0.02, 200, 3, 7
NOISE = [0, 0.5, 2.0]
TASK = gd.spirals(n_samples=N, n_inputs=D, n_heldout=HELD_OUT, seed=1)
IN_NOISE = make_diagnostic("noisy_accuracy", noise=NOISE, draws=DRAWS, seed=SEED)
RECORD = gd.Record(["heldout_accuracy", IN_NOISE], every=100)


def _network(key=3):
    return random_network(jax.random.key(key), D, (16, 8), 3, bias=True, train_readout=True)


def _system(network):
    loss = gd.SquaredLoss("mean")
    return gd.make_system(network, TASK, loss=loss, coordinates="weights")


def _same(found, wanted):
    # The same count; compilers divide by a number of samples in ways of their own.
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def _answer(params, scales, x):
    """The class that a ReLU network gives one sample."""
    for i, (weight, bias) in enumerate(params):
        x = scales[i] * (weight @ x) + (0.0 if bias is None else bias)
        x = np.maximum(x, 0.0) if i < len(params) - 1 else x
    return np.argmax(x)


def _share_in_noise(params, scales, size):
    """Draw by draw, sample by sample."""
    right = 0
    for key in jax.random.split(jax.random.key(SEED), DRAWS):
        noise = np.asarray(jax.random.normal(key, (HELD_OUT, D)))
        for x, y, xi in zip(TASK.held_out.inputs, TASK.held_out.targets, noise, strict=True):
            right += _answer(params, scales, x + size * xi) == np.argmax(y)
    return right / (DRAWS * HELD_OUT)


def test_it_is_that_of_a_plain_loop_at_every_saved_time():
    found = gd.simulate(_system(_network()), gd.GradientDescent(ETA), N_STEPS, RECORD)
    start = plain(_network(), "relu")
    for place, step in enumerate((0, 100, 200)):
        # The sum's descent with the step of the mean.
        trained = [True] * 3
        end = numpy_descent(start, TASK.inputs, TASK.targets, step, ETA / N, trained=trained)
        wanted = [_share_in_noise(end["params"], start[1], size) for size in NOISE]
        _same(found["noisy_accuracy"][place], wanted)
    assert wanted[0] > wanted[1] > wanted[2]
    _same(found["noisy_accuracy"][:, 0], found["heldout_accuracy"])


def test_networks_of_a_batch_see_the_same_noise():
    build = lambda key: (_system(gd.init_network(key, D, (16,), 3)), gd.GradientDescent(ETA))  # noqa: E731
    first, other = jax.random.split(jax.random.key(5))
    keys = jax.numpy.stack([first, other, first])
    together = gd.simulate_many(build, keys, n_steps=N_STEPS, record=RECORD)["noisy_accuracy"]
    for run, key in zip(together, keys, strict=True):
        alone = gd.simulate(*build(key), N_STEPS, RECORD)["noisy_accuracy"]
        _same(run, alone)
    assert np.any(together[0] != together[1])


BASE = """\
task: {kind: spirals, n_samples: 30, n_inputs: 9, n_heldout: 30}
network: {width: 6, depth: 2}
loss: {reduction: mean}
scheme: {kind: gradient_descent, step_size: 0.05, n_steps: 40}
record: {every: 20, of: [heldout_accuracy, {name: noisy_accuracy, noise: [0, 3], draws: 2}]}
coordinates: weights
precision: float64
"""


@pytest.mark.parametrize(
    "change",
    [
        "network={width: 6, depth: 2, kind: residual}",
        "network={widths: [4, 2], kind: convolutional, side: 3, stride: 1}",
        "network={width: 6, depth: 2, kind: enriched}",
        "scheme={kind: gradient_descent, step_size: 0.05, n_steps: 40, batch_size: 10}",
        "scheme={kind: optax, optimizer: adam, step_size: 0.05, n_steps: 40}",
        "task={kind: clusters, n_classes: 2, n_samples: 30, n_inputs: 9, n_heldout: 30}",
    ],
)
def test_without_noise_it_is_the_accuracy_held_out_whatever_the_network(change):
    plan = plan_of(BASE, change)
    assert plan.groups[0].record.labels()["noise"] == ("0", "3")
    (run,) = compute(plan).values()
    _same(run["noisy_accuracy"][:, 0], run["heldout_accuracy"])
    assert np.any(run["noisy_accuracy"][:, 1] != run["heldout_accuracy"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"noise": [0.1, -0.1]}, "finite number >= 0"),
        ({"noise": [float("inf")]}, "finite number >= 0"),
        ({"noise": "0.1"}, "list of standard deviations"),
        ({"noise": []}, "list of standard deviations"),
        ({"noise": 0.1}, "list of standard deviations"),
        ({"draws": 0}, "whole number of at least 1"),
        ({"seed": -1}, "whole number of at least 0"),
        ({"seed": 2**32}, "below 2\\^32"),
    ],
)
def test_bad_options_are_told(options, told):
    with pytest.raises(gd.InputError, match=told):
        make_diagnostic("noisy_accuracy", **options)


def test_without_samples_held_out_that_is_told():
    bare = gd.spirals(n_samples=N, n_inputs=D)
    told = "`noisy_accuracy` reads samples that are held out, but the task has none"
    with pytest.raises(gd.InputError, match=told):
        gd.simulate(
            gd.make_system(_network(), bare), gd.GradientDescent(ETA), 1, gd.Record([IN_NOISE])
        )
