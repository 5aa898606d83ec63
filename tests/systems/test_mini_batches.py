"""Mini-batches: a plain loop over reshuffled epochs, what is recorded, what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gramdyn as gd
from gramdyn.plan import make_plan, parse_config
from gramdyn.sweep import run_sweep
from gramdyn.systems.batches import in_batches

N, SIZE, STEPS = 11, 3, 20  # 3 batches an epoch, two samples left out of each
CONFIG = """
task: {kind: gaussian, n_samples: 11, n_inputs: 4}
network: {width: 6, depth: 2, readout: trained}
scheme: {kind: gradient_descent, step_size: 0.05, n_steps: 20, batch_size: 3}
precision: float64
record: {every: 5, of: [loss, outputs]}
"""


def make():
    task = gd.gaussian(n_samples=N, n_inputs=4, target="linear").cast("float64")
    network = gd.init_network(jax.random.key(1), 4, (6, 5), train_readout=True)
    return task, gd.make_system(network, task, coordinates="weights")


def by_hand(system, order, update, steps):
    """The weights after plain steps on batches cut from each epoch's order."""
    state, rest = system.start.partition()
    memory = update.init(state)

    def loss(state, rows):
        outputs = eqx.combine(state, rest)(system.inputs[rows])
        return 0.5 * jnp.sum((outputs - system.targets[rows]) ** 2)

    count = N // SIZE
    for t in range(steps):
        epoch, place = divmod(t, count)
        rows = order[epoch][place * SIZE : (place + 1) * SIZE]
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in other dtypes
            step, memory = update.update(jax.grad(loss)(state, rows), memory, state)
        state = optax.apply_updates(state, step)
    return eqx.combine(state, rest)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_is_a_plain_loop_over_reshuffled_epochs(name):
    _, system = make()
    batched = in_batches(system, jax.random.key(0), SIZE, STEPS)
    order = np.asarray(batched.order)
    assert order.shape == (7, N)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(N), (7, N)))
    assert len({tuple(row) for row in order}) == 7
    scheme = gd.GradientDescent(0.05) if name == "sgd" else gd.Optax(name, 0.05)
    run = gd.simulate(batched, scheme, STEPS, gd.Record(["loss", "outputs"], every=STEPS))
    network = by_hand(system, order, getattr(optax, name)(0.05), STEPS)
    # What is recorded is the whole training set.
    np.testing.assert_allclose(run["outputs"][-1], network(system.inputs), atol=1e-13)
    wanted = 0.5 * jnp.sum((network(system.inputs) - system.targets) ** 2)
    np.testing.assert_allclose(run["loss"][-1], wanted, rtol=1e-12)


def test_saved_times_change_nothing_and_a_batch_of_all_is_descent():
    _, system = make()
    batched = in_batches(system, jax.random.key(0), SIZE, STEPS)
    runs = [
        gd.simulate(batched, gd.GradientDescent(0.05), STEPS, gd.Record(["outputs"], every=every))
        for every in (1, 7)
    ]
    np.testing.assert_allclose(runs[0]["outputs"][-1], runs[1]["outputs"][-1], atol=1e-14)
    whole = in_batches(system, jax.random.key(0), N, STEPS)
    pair = [
        gd.simulate(one, gd.GradientDescent(0.05), STEPS, gd.Record(["outputs"], every=STEPS))
        for one in (whole, system)
    ]
    np.testing.assert_allclose(pair[0]["outputs"][-1], pair[1]["outputs"][-1], atol=1e-13)


def test_learning_equation_holds_on_the_batch_and_divergence_is_seen():
    _, system = make()
    batched = in_batches(system, jax.random.key(0), SIZE, STEPS)
    run = gd.simulate(
        batched, gd.GradientDescent(0.05), 10, gd.Record(["learning_equation", "gram_virtual"])
    )
    assert float(jnp.max(run["learning_equation"])) < 1e-13
    wild = gd.simulate(batched, gd.GradientDescent(50.0), STEPS, gd.Record(["loss"]))
    assert wild.status != 0


def test_in_a_sweep_seeds_have_their_own_orders(tmp_path):
    config = parse_config(CONFIG, changes=["sweep.seed={count: 3}"])
    (group,) = make_plan(config).groups
    assert group.coordinates == "weights"
    run_sweep(config, tmp_path / "run")
    (node,) = gd.open(tmp_path / "run").children.values()
    system, _ = group.build(jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), group.params))
    network = by_hand(system, np.asarray(system.order), optax.sgd(0.05), STEPS)
    np.testing.assert_allclose(
        node["outputs"].isel(run=1, step=-1), network(system.inputs), atol=1e-13
    )
    other, _ = group.build(jax.tree.map(lambda leaf: jnp.asarray(leaf[2]), group.params))
    assert not np.array_equal(system.order, other.order)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("coordinates=gram", "coordinates: must be weights for mini-batches"),
        ("scheme.batch_size=0", "scheme.batch_size"),
        ("scheme={kind: gradient_flow, step_size: 0.1, n_steps: 2, batch_size: 3}", "left out"),
        ("record.of=[linearised]", "batch_size"),
        ("record.of=[closure_error]", "batch_size"),
        ("scheme.batch_size=12", "be 1 to the number of samples 11"),
    ],
)
def test_refusals(change, told):
    with pytest.raises(gd.InputError, match=told):
        make_plan(parse_config(CONFIG, changes=[change]))
