"""A variational autoencoder: its gradient by autodiff, its steps by a plain loop, its noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gramdyn as gd
from gramdyn.data import Images, task_images
from gramdyn.models import ACTIVATIONS, init_autoencoder, make_activation
from gramdyn.systems import VaeSystem, make_vae_system

N, D, WIDTHS, LATENT, BETA = 7, 5, (6, 4), 3, 0.7
INPUTS = np.random.default_rng(0).uniform(size=(N, D))


def make(activation="gelu", parametrization="uniform", bias=True, beta=BETA, widths=WIDTHS):
    keys = tuple(jax.random.split(jax.random.key(1)))
    network = init_autoencoder(
        keys,
        D,
        widths,
        LATENT,
        activation=make_activation(activation),
        parametrization=parametrization,
        train_readout=True,
        bias=bias,
        readout_bias=bias is not False,
    )
    return make_vae_system(network, Images(INPUTS), noise=jax.random.key(2), beta=beta)


def output_of(network, act):
    """The network written out, layer by layer."""
    for layer in network.layers:
        scale = 1.0 if layer.scale is None else layer.scale
        act = layer.activation.value(
            scale * act @ layer.weight.T + (0.0 if layer.bias is None else layer.bias[None])
        )
    return act


def plain_loss(system, state, inputs, noise):
    """The loss written out: log-likelihood of each pixel, divergence of each number of a code."""
    network = eqx.combine(state, system.start.partition()[1])
    out = output_of(network.encoder, inputs)
    mean, std = out[:, :LATENT], jnp.exp(out[:, LATENT:]) ** 0.5
    logits = output_of(network.decoder, mean + std * noise)
    likelihood = inputs * jax.nn.log_sigmoid(logits) + (1 - inputs) * jax.nn.log_sigmoid(-logits)
    divergence = -jnp.log(std) + (std**2 + mean**2 - 1) / 2
    return jnp.mean(-likelihood.sum(axis=1) + system.beta * divergence.sum(axis=1))


def step_noise(system, step, size):
    """The codes' draw in a step: the second half of the key, folded with the step."""
    steps = jax.random.split(system.noise)[1]
    return jax.random.normal(jax.random.fold_in(steps, step), (size, LATENT))


def assert_same(one, two, atol=1e-12):
    one, two = jax.tree.leaves(one), jax.tree.leaves(two)
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=atol)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(
    ("parametrization", "bias"), [("uniform", True), ("ntk", (True, False)), ("standard", False)]
)
def test_gradient_is_that_of_automatic_differentiation(activation, parametrization, bias):
    system = make(activation, parametrization, bias).at(jnp.int32(3))
    state = jax.tree.map(lambda leaf: leaf + 0.1, system.initial_state())  # biases of 0 move too
    fields = system.fields(state)
    noise = step_noise(system, 3, N)
    wanted, gradient = jax.value_and_grad(lambda s: plain_loss(system, s, system.inputs, noise))(
        state
    )
    np.testing.assert_allclose(fields.watched_loss, wanted, rtol=1e-13)
    assert_same(system.velocity(state, fields), jax.tree.map(jnp.negative, gradient))


def test_biases_of_the_decoder_are_those_of_the_encoder_in_reverse():
    network = make(bias=(True, False)).start
    assert [layer.bias is None for layer in network.encoder.layers] == [False, True, False]
    assert [layer.bias is None for layer in network.decoder.layers] == [True, False, False]
    assert [layer.weight.shape for layer in network.decoder.layers] == [(4, 3), (6, 4), (5, 6)]


def test_divergence_is_the_integral():
    fields = make().fields(make().initial_state())
    grid = np.linspace(-12, 12, 4001)
    total = 0.0
    for mean, log in zip(np.ravel(fields.means), np.ravel(fields.log_variances), strict=True):
        own = np.exp(-((grid - mean) ** 2) / (2 * np.exp(log))) / np.sqrt(2 * np.pi * np.exp(log))
        ratio = -((grid - mean) ** 2) / (2 * np.exp(log)) - log / 2 + grid**2 / 2
        total += np.sum(own * ratio) * (grid[1] - grid[0])
    np.testing.assert_allclose(fields.kl, total / N, rtol=1e-10)


@pytest.mark.parametrize("size", [None, 3])
def test_a_run_is_a_plain_loop(size):
    """Adam on reshuffled batches, each step with a draw of its own."""
    steps, system = 9, make()
    if size is not None:
        system = system.in_batches(jax.random.key(5), size, steps)
    found = gd.simulate(system, gd.Optax("adam", 0.01), steps, gd.Record(["loss"], every=4))
    state, update = system.initial_state(), optax.adam(0.01)
    memory = update.init(state)
    for t in range(steps):
        rows = np.arange(N)
        if size is not None:
            epoch, place = divmod(t, N // size)
            rows = system.order[epoch][place * size : (place + 1) * size]
        inputs, noise = system.inputs[rows], step_noise(system, t, len(rows))
        gradient = jax.grad(lambda s, x=inputs, e=noise: plain_loss(system, s, x, e))(state)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in other dtypes
            step, memory = update.update(gradient, memory, state)
        state = optax.apply_updates(state, step)
    assert_same(found.state, state)
    # What is recorded is the whole training set, with one draw for all times.
    looks = jax.random.split(system.noise)[0]
    noise = jax.random.normal(looks, (N, LATENT))
    wanted = plain_loss(system, state, system.inputs, noise)
    np.testing.assert_allclose(found["loss"][-1], wanted, rtol=1e-12)


def test_saved_times_change_nothing():
    system = make().in_batches(jax.random.key(0), 2, 10)
    ends = [
        gd.simulate(system, gd.GradientDescent(0.1), 10, gd.Record(["loss"], every=every)).state
        for every in (1, 4)
    ]
    assert_same(*ends, atol=1e-14)


def test_each_step_has_its_draw_and_who_looks_has_one():
    system = make()
    state = system.initial_state()
    seen = [system.at(jnp.int32(t)).fields(state) for t in (0, 1)]
    assert float(seen[0].loss) == float(seen[1].loss)
    assert float(seen[0].watched_loss) != float(seen[1].watched_loss)


def test_pixels_are_probabilities_and_beta_weighs_the_divergence():
    system = make()
    fields = system.fields(system.initial_state())
    pixels = fields.decode(fields.means)
    assert pixels.shape == INPUTS.shape
    assert float(pixels.min()) > 0
    assert float(pixels.max()) < 1
    heavy = make(beta=BETA + 2).fields(system.initial_state())
    np.testing.assert_allclose(heavy.loss - fields.loss, 2 * fields.kl, rtol=1e-12)


def test_a_step_costs_its_products():
    """Three products an array, but for the first layer, which pulls nothing back."""
    system = make(bias=False)
    sizes = [leaf.size for leaf in jax.tree.leaves(system.initial_state())]
    assert system.step_flops() == 2 * N * (3 * sum(sizes) - D * WIDTHS[0])
    batched = system.in_batches(jax.random.key(0), 2, 4)
    assert batched.step_flops() * N == system.step_flops() * 2


def test_refusals():
    system = make()
    with pytest.raises(gd.InputError, match="`step_size` must be a number for an autoencoder"):
        gd.simulate(system, gd.GradientDescent(gd.Relative(0.5)), 2, gd.Record(["loss"]))
    with pytest.raises(gd.InputError, match="`size` must be 1 to the number of samples 7"):
        system.in_batches(jax.random.key(0), 8, 2)
    with pytest.raises(gd.InputError, match=r"`start` must map \(4, 6\), then \(3, 4\)"):
        VaeSystem(system.start, system.inputs[:, :4], system.beta, system.noise)
    with pytest.raises(gd.InputError, match="reads NetworkFields, but this system shows VaeFields"):
        gd.simulate(system, gd.GradientDescent(0.1), 2, gd.Record(["outputs"]))
    with pytest.raises(gd.InputError, match="`widths` must hold one hidden layer at least"):
        make(widths=())


def test_images_of_a_task_and_who_is_of_which_class():
    task = gd.digits(classes=(3, 8, 5), n_samples=11, centre=False, norm=2.0)
    images = task_images(task)
    assert images.n_inputs == 64
    assert images.members.shape == (3, 3)  # classes of 4, 4 and 3
    for kind, rows in enumerate(images.members):
        wanted = [i for i, label in enumerate(task.labels) if label == kind][:3]
        np.testing.assert_array_equal(rows, wanted)
    assert task_images(gd.make_task(INPUTS, INPUTS)).members is None
    with pytest.raises(gd.InputError, match="`inputs` must lie in 0 to 1"):
        task_images(gd.digits(centre=False, norm=10.0))
    with pytest.raises(gd.InputError, match="`inputs` must lie in 0 to 1"):
        task_images(gd.digits())
