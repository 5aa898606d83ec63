"""Equilibrium layers against automatic differentiation through their loop, written out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax import lax
from support.pathways import moved_network

import gramdyn as gd
from gramdyn import InputError
from gramdyn.data import gaussian
from gramdyn.dynamics.status import Status
from gramdyn.kernels.fixed_points import SOLVE_STATUSES
from gramdyn.models import (
    Dense,
    EnrichedLayer,
    EquilibriumLayer,
    Network,
    equilibrium_network,
    linear,
    make_activation,
    make_pathway,
    tanh,
)
from gramdyn.systems import forward_law, make_system

N, D, C, WIDTH = 5, 4, 2, 12
# Points are known to 1e-13 over 1 - rho, some 1e-12, and so is w; measured worst 2e-13.
RTOL = 1e-11
# Steps of the loop written out: what is left of the error at a rate of 0.95 is 1e-14.
UNROLLED = 640

CASES = {
    "dense": {"pathway": {"kind": "dense", "gain": 0.5}, "bias": False, "weight_scale": 3.0},
    "orthogonal": {"pathway": {"kind": "orthogonal", "gain": 0.8}},
    "lowrank_diag": {"pathway": {"kind": "lowrank_diag", "gain": 0.5}, "embedding": "fixed"},
    "outside": {"correction": {"kind": "bottleneck", "rank": 3}, "alpha": 0.3},
    "inside": {"correction": {"kind": "bottleneck", "rank": 3}, "alpha": 0.3, "mode": "inside"},
    "relu": {"activation": make_activation("relu"), "correction": "gated", "alpha_each": True},
    "fixed matrix": {"train_pathway": False, "train_alpha": False, "correction": "dense"},
    "fixed cell": {"cell": "fixed", "correction": "identity"},
}


def fixed(cell):
    parts = cell.pathway, cell.correction, cell.bias, cell.alpha, cell.activation
    return EnrichedLayer(*parts, trainable=False)


def make(below=False, cell="trained", **options):
    """A system with an equilibrium layer, after a dense one or not."""
    n_inputs = 6 if below else D
    network = equilibrium_network(jax.random.key(1), n_inputs, WIDTH, C, **options)
    if cell == "fixed":
        network = eqx.tree_at(lambda one: one.layers[0].cell, network, replace_fn=fixed)
    if below:
        weight = jax.random.normal(jax.random.key(2), (6, D)) / 2
        network = Network((Dense(weight, None, None, tanh()), *network.layers))
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=2)
    return make_system(moved_network(network, 0.05), task, coordinates="weights")


def test_jacobians_are_those_of_autodiff_and_conditioning_is_theirs():
    network = equilibrium_network(jax.random.key(1), WIDTH, WIDTH, C)
    task = gaussian(n_samples=N, n_inputs=WIDTH, n_outputs=C, seed=2)
    system = make_system(moved_network(network, 0.05), task, coordinates="weights")
    layer, inputs = system.start.layers[0], jnp.asarray(task.inputs)

    def unrolled(row):  # the loop written out
        enters = layer.inject.forward(row[None]).pre
        step = lambda now, _: (jnp.tanh(layer.cell.pathway(now) + enters), None)  # noqa: E731
        return lax.scan(step, jnp.zeros((1, WIDTH)), None, length=UNROLLED)[0][0]

    wanted = jax.jit(jax.vmap(jax.jacfwd(unrolled)))(inputs)
    found = eqx.filter_jit(lambda one, x: one.jacobians(one.forward(x)))(layer, inputs)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)
    record = gd.Record(["conditioning"], at=[0])
    seen = gd.simulate(system, gd.GradientDescent(0.01), 1, record).records["log_condition"][0]
    values = np.linalg.svd(wanted[:4], compute_uv=False)
    np.testing.assert_allclose(seen, np.median(np.log10(values[:, 0] / values[:, -1])), rtol=1e-8)


def test_flips_above_are_refused():
    options = {"activation": make_activation("relu")}
    network = equilibrium_network(jax.random.key(1), WIDTH, WIDTH, C, **options)
    both = Network((*network.layers[:-1], *network.layers))
    task = gaussian(n_samples=N, n_inputs=WIDTH, n_outputs=C, seed=2)
    system = make_system(both, task, coordinates="weights")
    with pytest.raises(InputError, match="no law of its flips"):
        gd.simulate(system, gd.GradientDescent(0.01), 2, gd.Record(["flip_current"]))


def loop(layer, act):
    """z after many steps of the layer's loop, written out from its arrays."""
    cell, inject = layer.cell, layer.inject
    injected = act @ inject.weight.T
    injected = injected if inject.bias is None else injected + inject.bias[None]

    def step(point, _):
        pre, added = point @ cell.pathway.matrix().T + injected, 0.0
        if cell.correction is not None:
            alpha = jnp.broadcast_to(cell.alpha, (WIDTH,))
            added = alpha[None] * cell.correction(point)
        if cell.mode == "inside":
            return cell.activation.value(pre + added), None
        return cell.activation.value(pre) + added, None

    return lax.scan(step, jnp.zeros_like(injected), length=UNROLLED)[0]


def unrolled(network, inputs):
    act = inputs
    for layer in network.layers:
        found = isinstance(layer, EquilibriumLayer)
        act = loop(layer, act) if found else layer.forward(act).act
    return act


@eqx.filter_jit
def both_sides(system, vector):
    """What the library says, and automatic differentiation through the loop."""
    state, rest = system.start.partition()
    outputs = lambda state: unrolled(eqx.combine(state, rest), system.inputs)  # noqa: E731
    jacobian = jax.jacrev(outputs)(state)
    kernels = []
    for i in system.fields(state).trained:
        rows = [leaf.reshape(N, C, -1) for leaf in jax.tree.leaves(jacobian.layers[i])]
        whole = jnp.concatenate([jnp.zeros((N, C, 1)), *rows], axis=2)
        kernels.append(jnp.einsum("mcp,nep->mcne", whole, whole))
    values = outputs(state)
    residual = values - system.targets
    gradient = jax.tree.map(lambda leaf: jnp.tensordot(residual, leaf, 2), jacobian)
    fields, fresh = system.fields(state), system.fields(state)
    found = fields.outputs, fields.layer_kernels, fields.kernel_product()(vector)
    # of one the gradient is contracted from what came back of each output, of the other swept anew
    return (*found, fields.gradient(), fresh.gradient()), (values, jnp.stack(kernels), gradient)


def close(found, wanted):
    scale = float(jnp.max(jnp.abs(wanted))) + 1e-300
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * scale)


def close_trees(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        close(one, two)


@pytest.mark.parametrize(
    ("case", "below"), [*((case, False) for case in CASES), ("outside", True), ("inside", True)]
)
def test_kernels_and_gradients_are_those_through_the_loop(case, below):
    system, vector = make(below, **CASES[case]), jax.random.normal(jax.random.key(5), (N, C))
    found, (outputs, kernels, gradient) = both_sides(system, vector)
    close(found[0], outputs)
    for one, two in zip(found[1], kernels, strict=True):
        close(one, two)
    close(found[2], jnp.einsum("lmcne,ne->mc", kernels, vector))
    close_trees(found[3], gradient)
    close_trees(found[4], gradient)


def test_gradients_are_central_differences():
    """Truncation 2e-9, and 1e-13 of the points over the step."""
    system = make(True, **CASES["outside"])
    state, step = system.initial_state(), 1e-5
    leaves, structure = jax.tree.flatten(state)
    move = [0.1 * jax.random.normal(jax.random.key(i), x.shape) for i, x in enumerate(leaves)]

    @jax.jit
    def loss(size):
        pairs = zip(leaves, move, strict=True)
        there = [leaf + size * along for leaf, along in pairs]
        return system.fields(jax.tree.unflatten(structure, there)).loss

    slopes = jax.tree.leaves(eqx.filter_jit(lambda: system.fields(state).gradient())())
    along = sum(jnp.sum(one * two) for one, two in zip(slopes, move, strict=True))
    np.testing.assert_allclose(along, (loss(step) - loss(-step)) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("mode", ["outside", "inside"])
def test_points_are_the_roots_scipy_finds(mode):
    system = make(**CASES["outside"] | {"mode": mode})
    layer = system.start.layers[0]
    trace, told = jax.jit(lambda x: (layer.forward(x), layer.settle(x)))(system.inputs)
    assert set(np.asarray(told.status)) == {SOLVE_STATUSES.index("converged")}
    pre = np.asarray(system.inputs @ layer.inject.weight.T + layer.inject.bias[None])

    def added_at(point):
        return (
            float(layer.cell.alpha) * np.asarray(layer.cell.correction(jnp.asarray(point[None])))[0]
        )

    def gap(point, row):
        added = added_at(point)
        inner = np.asarray(layer.cell.matrix()) @ point + row
        own = np.tanh(inner + added) if mode == "inside" else np.tanh(inner) + added
        return own - point

    for row, point, before in zip(pre, trace.act, trace.pre, strict=True):
        root = scipy.optimize.root(gap, np.zeros(WIDTH), args=(row,), tol=1e-13)
        np.testing.assert_allclose(point, root.x, atol=1e-11)
        # the preactivations are those whose activations, with what is added, are the point
        left = point - np.tanh(before)
        wanted = 0.0 * root.x if mode == "inside" else added_at(root.x)
        np.testing.assert_allclose(left, wanted, atol=1e-11)


def test_the_decomposition_is_made_once_in_a_compiled_gradient():
    """The gradient solves with the matrix that the sensitivities were solved with."""
    system = make(**CASES["outside"] | {"pathway": "circulant"})
    state = system.initial_state()

    def both(state):
        fields = system.fields(state)
        return fields.sens, fields.gradient(), fields.layer_kernels

    program = jax.jit(both).lower(state).compile().as_text()
    assert program.count("getrf") == 1


@pytest.mark.slow
def test_training_lowers_the_loss_and_runs_in_batches_are_runs_alone():
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=2)

    def build(key):
        network = equilibrium_network(key, D, WIDTH, C, correction="bottleneck")
        return make_system(network, task, coordinates="weights"), gd.GradientDescent(0.002)

    keys = jax.random.split(jax.random.key(0), 3)
    record = gd.Record(["loss", "decay_share", "lipschitz"], every=10)
    many = gd.simulate_many(build, keys, 50, record, batching="vmap")
    assert set(np.asarray(many.status)) == {Status.OK}
    assert np.all(np.diff(many["loss"], axis=1) < 0)
    assert np.all(many["loss"][:, -1] < 0.6 * many["loss"][:, 0])
    for i in (0, 2):
        alone = gd.simulate(*build(keys[i]), 50, record)
        # points of a batch settle at their own iteration, and products differ in their last bits
        np.testing.assert_allclose(many["loss"][i], alone["loss"], rtol=1e-10)
        np.testing.assert_allclose(many["lipschitz"][i], alone["lipschitz"], rtol=1e-10)


def test_what_the_structure_conserves_is_conserved_by_the_flow():
    """Runge-Kutta's drift falls as dt^4: to a sixteenth at half the step."""
    system = make(**CASES["outside"] | {"pathway": {"kind": "lowrank", "rank": 3, "gain": 0.5}})
    record = gd.Record(["structure_drift"], every=1000)
    drifts = []
    for steps in (40, 80):
        found = gd.simulate(system, gd.RungeKutta4(0.1 / steps), steps, record)
        drifts.append(float(found["structure_drift"][-1, 0]))
    assert 0 < drifts[1] < 1e-6
    assert 10 < drifts[0] / drifts[1] < 24


def test_a_point_that_does_not_settle_is_nan_and_ends_the_run():
    """At twice the critical gain no start settles; a strong input holds its own sample still."""
    pathway = {"kind": "orthogonal", "gain": 1.6}
    network = equilibrium_network(jax.random.key(1), D, 64, C, pathway=pathway, max_steps=300)
    layer = network.layers[0]
    inputs = jnp.asarray(np.random.default_rng(0).standard_normal((3, D)))
    inputs = inputs * jnp.asarray([[1e-3], [1e-3], [1e3]])
    found, trace = eqx.filter_jit(lambda x: (layer.settle(x), layer.forward(x)))(inputs)
    assert [SOLVE_STATUSES[code] for code in found.status] == ["not_converged"] * 2 + ["converged"]
    assert np.all(found.iterations[:2] == 300)
    assert np.all(found.iterations[2] < 300)
    assert np.all(np.isnan(trace.act[:2]))
    assert np.all(np.isfinite(trace.act[2]))
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=2)
    task = gd.make_task(1e-3 * np.asarray(task.inputs), np.asarray(task.targets))
    system = make_system(network, task, coordinates="weights")
    run = gd.simulate(system, gd.GradientDescent(0.01), 3, gd.Record(["loss"]))
    assert (run.status, run.failed_at) == (Status.NOT_FINITE, 0)


def test_single_precision_settles_at_its_own_rounding():
    network = equilibrium_network(jax.random.key(1), D, 64, C, dtype=jnp.float32)
    wide = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_array(leaf) else leaf, network)
    inputs = jnp.asarray(np.random.default_rng(0).standard_normal((3, D)))
    run = eqx.filter_jit(lambda network, inputs: network(inputs))
    found = run(network, inputs.astype(jnp.float32))
    assert found.dtype == jnp.float32
    # steps of 1e-4, over 1 - 0.8
    np.testing.assert_allclose(found, run(wide, inputs), atol=1e-3)


@pytest.mark.parametrize("case", ["orthogonal", "outside", "inside"])
def test_lipschitz_bound_holds(case):
    system = make(**CASES[case])
    layer = system.start.layers[0]
    acts = 2.0 * jax.random.normal(jax.random.key(3), (40, D))
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda one: layer.forward(one[None]).act[0])))
    steepest = np.linalg.svd(slope(acts), compute_uv=False).max()
    bound = float(layer.lipschitz())
    assert steepest <= bound
    if case == "orthogonal":
        # the frame and its moved generator keep sigma_1(S) at 0.8
        wanted = np.linalg.norm(layer.inject.weight, 2) / 0.2
        np.testing.assert_allclose(bound, wanted, rtol=1e-12)
    wild = equilibrium_network(jax.random.key(1), D, WIDTH, C, pathway="orthogonal")
    assert wild.layers[0].lipschitz() == np.inf


def test_frozen_frames_do_not_move():
    import optax

    system = make(**CASES["outside"])
    state = system.initial_state()
    optimiser = optax.adamw(0.01, weight_decay=0.1)
    slope = eqx.filter_jit(lambda state: system.velocity(state))(state)
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps in whole numbers
        updates, _ = optimiser.update(slope, optimiser.init(state), state)
        after = system.network(optax.apply_updates(state, updates))
    one, two = system.start.layers[0].cell, after.layers[0].cell
    np.testing.assert_array_equal(one.pathway.frame, two.pathway.frame)
    assert one.pathway.gain == two.pathway.gain
    assert not np.array_equal(one.pathway.generator, two.pathway.generator)


def test_there_is_no_law_of_the_fields():
    with pytest.raises(InputError, match="no law"):
        forward_law(make().fields(make().initial_state()))
    still = make(True, embedding="fixed", cell="fixed")
    layer = still.start.layers[1]
    assert not layer.trainable
    with pytest.raises(InputError, match="no law"):
        forward_law(still.fields(still.initial_state()))
    with pytest.raises(InputError, match="Gram"):
        layer.input_gram(layer.forward(jnp.ones((1, 6))))


def test_operations_are_counted():
    narrow, wide = (
        equilibrium_network(jax.random.key(0), D, width, C).layers[0] for width in (16, 32)
    )
    assert 4 < wide.step_flops(10, first=True) / narrow.step_flops(10, first=True) < 8
    assert wide.step_flops(10, first=False) > wide.step_flops(10, first=True)
    # a hundred products of the loop alone
    assert wide.step_flops(10, first=True) > 100 * 2 * 10 * 32**2


def test_refusals():
    key = jax.random.key(0)
    cell = equilibrium_network(key, D, WIDTH, C).layers[0].cell
    inject = Dense(jnp.ones((WIDTH, D)), None, None, linear())
    with pytest.raises(InputError, match="linear"):
        EquilibriumLayer(cell, Dense(inject.weight, None, None, tanh()))
    with pytest.raises(InputError, match="12 numbers"):
        EquilibriumLayer(cell, Dense(jnp.ones((3, D)), None, None, linear()))
    with pytest.raises(InputError, match="no bias"):
        EquilibriumLayer(eqx.tree_at(_bias, cell, jnp.ones(WIDTH), is_leaf=_is_none), inject)
    rectangular = EnrichedLayer(make_pathway("dense", WIDTH, 5, key=key), None, None, None, tanh())
    with pytest.raises(InputError, match="as many numbers"):
        EquilibriumLayer(rectangular, inject)
    with pytest.raises(InputError, match="tol"):
        equilibrium_network(key, D, WIDTH, C, tol=0.0)
    with pytest.raises(InputError, match="max_steps"):
        equilibrium_network(key, D, WIDTH, C, max_steps=0)
    with pytest.raises(InputError, match="embedding"):
        equilibrium_network(key, D, WIDTH, C, embedding="none")
    with pytest.raises(InputError, match="pathway"):
        equilibrium_network(key, D, WIDTH, C, pathway="orthogonl")


def _bias(cell):
    return cell.bias


def _is_none(leaf):
    return leaf is None
