"""What structures conserve, by an integrator of known order; bounds against what is seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.data import gaussian
from gramdyn.models import enriched_network, make_activation

D, C, N = 6, 2, 12
HOLDS = {
    "low-rank": ("lowrank", "none", {}),
    "low-rank and diagonal": ("lowrank_diag", "none", {}),
    "normalised": ({"kind": "spectral", "mode": "normalise"}, "none", {}),
    "reflectors": ({"kind": "orthogonal", "method": "householder", "reflectors": 3}, "none", {}),
    "shaped": ("shaped", "none", {}),
    "bottleneck": ("dense", {"kind": "bottleneck", "rank": 2}, {"alpha": 0.6}),
    "bottleneck inside": ("dense", {"kind": "bottleneck", "rank": 2}, {"mode": "inside"}),
    "a gain a neuron": ("dense", {"kind": "bottleneck", "rank": 2}, {"alpha_each": True}),
}


def drift(pathway, correction, options, dt, n_steps, scheme=gd.RungeKutta4):
    network = enriched_network(
        jax.random.key(2), D, (8, 8), C, pathway=pathway, correction=correction, **options
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4, norm=D**0.5)
    system = gd.make_system(network, task, loss=gd.SquaredLoss("mean"), coordinates="weights")
    record = gd.Record(["structure_drift", "loss"], at=[0, n_steps])
    found = gd.simulate(system, scheme(dt), n_steps, record).records
    assert found["loss"][-1] < 0.95 * found["loss"][0]
    # embedding and readout are free matrices, which conserve nothing of the kind by themselves
    assert np.all(found["structure_drift"][:, [0, -1]] == 0)
    return float(found["structure_drift"][-1].max())


@pytest.mark.parametrize("name", HOLDS)
def test_flow_conserves_what_the_structure_says(name):
    # A normalised matrix slides along sigma_1 = sigma_2 later on, where its norm has a kink.
    time = 0.5 if name == "normalised" else 4.0
    coarse, fine = (drift(*HOLDS[name], dt, round(time / dt)) for dt in (0.05, 0.025))
    assert fine < 1e-7
    # Runge-Kutta 4: a drift of order dt^4 falls 16-fold.
    assert 10 < coarse / fine < 40


def test_descent_does_not_conserve_it():
    assert drift(*HOLDS["normalised"], 0.1, 40, gd.GradientDescent) > 1e-5


def test_structures_without_such_numbers_have_none():
    clip = {"kind": "spectral", "mode": "clip"}
    assert drift(clip, "none", {}, 0.1, 40) == 0
    assert drift("dense", "bottleneck", {"train_alpha": False}, 0.1, 40) == 0


@pytest.mark.slow
def test_single_precision_is_kept_where_double_is_on():
    for pathway in ("lowrank", "orthogonal", "shaped"):
        network = enriched_network(
            *(jax.random.key(2), D, (8, 8), C),
            pathway=pathway,
            correction="bottleneck",
            train_alpha=pathway == "shaped",
            dtype=jnp.float32,
        )
        task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4)
        system = gd.make_system(network, task, coordinates="weights")
        record = gd.Record(["structure_drift", "lipschitz", "layer_kernels", "transport"])
        found = gd.simulate(system, gd.GradientDescent(0.01), 2, record)
        assert {array.dtype for array in found.records.values()} == {jnp.dtype("float32")}


def test_weights_of_a_normalised_matrix_grow_by_the_square_of_the_step():
    network = enriched_network(
        jax.random.key(2), D, (8,), C, pathway={"kind": "spectral", "mode": "normalise"}
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4)
    system = gd.make_system(network, task, coordinates="weights")
    state = system.initial_state()
    move = system.velocity(state).layers[1].pathway.weight
    after = gd.simulate(system, gd.GradientDescent(0.05), 1, gd.Record(["loss"])).state
    squares = [jnp.sum(one.layers[1].pathway.weight ** 2) for one in (state, after)]
    np.testing.assert_allclose(squares[1] - squares[0], 0.05**2 * jnp.sum(move**2), rtol=1e-10)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "leaky_relu"])
def test_lipschitz_bounds_what_is_seen(activation):
    phi = make_activation(activation, 1.7 if activation == "leaky_relu" else None)
    network = enriched_network(
        jax.random.key(2), D, (8, 8), C, correction="gated", activation=phi, alpha=0.5
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4, norm=2 * D**0.5)
    system = gd.make_system(network, task, coordinates="weights")
    found = gd.simulate(system, gd.GradientDescent(0.01), 1, gd.Record(["lipschitz"], at=[0]))
    inputs = jnp.asarray(task.inputs)

    def hidden(one):
        return network.traces(one[None])[-2].act[0]

    seen = np.linalg.svd(jax.vmap(jax.jacfwd(hidden))(inputs), compute_uv=False).max()
    bound = float(found.records["lipschitz_product"][0])
    assert seen <= bound
    np.testing.assert_allclose(np.prod(found.records["lipschitz"][0]), bound, rtol=1e-12)
    # For the embedding alone the bound is its norm, exactly.
    first = float(found.records["lipschitz"][0, 0])
    top = np.linalg.norm(network.layers[0].weight, 2)
    np.testing.assert_allclose(first, phi.lipschitz * top, rtol=1e-12)


def test_rise_of_the_loss_is_that_of_a_plain_loop():
    network = enriched_network(jax.random.key(2), D, (8,), C)
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4, norm=D**0.5)
    system = gd.make_system(network, task, coordinates="weights")
    scheme = gd.GradientDescent(gd.Relative(1.9))  # near the edge of stability
    record = gd.Record(["loss", "loss_rise"], every=1)
    found = gd.simulate(system, scheme, 30, record).records
    logs = np.log(found["loss"])
    rise = np.concatenate([[0.0], np.cumsum(np.maximum(np.diff(logs), 0))])
    assert rise[-1] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where(logs[0] > logs, rise / (logs[0] - logs), np.where(rise > 0, np.inf, 0))
    np.testing.assert_allclose(found["loss_rise"], wanted, rtol=1e-12)


def test_a_loss_of_zero_is_no_rise():
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4)
    network = enriched_network(jax.random.key(2), D, (8,), C)
    system = gd.make_system(network, gd.Task(task.inputs, 0.0 * task.targets))
    still = eqx.tree_at(lambda one: one.start.layers[-1].weight, system, replace_fn=jnp.zeros_like)
    found = gd.simulate(still, gd.GradientDescent(0.1), 2, gd.Record(["loss_rise"], every=1))
    np.testing.assert_array_equal(found.records["loss_rise"], 0.0)


@pytest.mark.parametrize(
    ("correction", "mode"), [("none", "outside"), ("identity", "outside"), ("gated", "inside")]
)
def test_jacobians_and_conditioning_are_those_of_autodiff(mode, correction):
    network = enriched_network(
        *(jax.random.key(2), D, (8, 8, 8), C), correction=correction, mode=mode, alpha=0.4
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4)
    system = gd.make_system(network, task, coordinates="weights")
    state = system.initial_state()
    fields = system.fields(state)
    start = fields.traces[0].act

    def hidden(act):
        for layer in network.layers[1:-1]:
            act = layer.forward(act[None]).act[0] if act.ndim == 1 else layer.forward(act).act
        return act

    jacobian = jax.vmap(jax.jacfwd(hidden))(start)
    own = jax.vmap(jax.jacfwd(lambda one: network.layers[1].forward(one[None]).act[0]))(start)
    np.testing.assert_allclose(network.layers[1].jacobians(fields.traces[1]), own, atol=1e-13)
    made = gd.diagnostics.make_diagnostic("conditioning", samples=3)
    found = gd.simulate(system, gd.GradientDescent(0.01), 1, gd.Record([made], at=[0])).records
    values = np.linalg.svd(jacobian[:3], compute_uv=False)
    condition = np.median(np.log10(values[:, 0] / values[:, -1]))
    np.testing.assert_allclose(found["log_condition"][0], condition, rtol=1e-9)
    top = np.median(np.log10(values[:, 0]))
    np.testing.assert_allclose(found["log_top_singular"][0], top, rtol=1e-9, atol=1e-12)
    sizes = [np.linalg.norm(fields.conj[i][:3], axis=(1, 2)) for i in (0, -1)]
    ratio = np.median(np.log10(sizes[0] / sizes[1]))
    np.testing.assert_allclose(found["log_gradient_ratio"][0], ratio, rtol=1e-9, atol=1e-12)


def test_orthogonal_linear_layers_have_unit_sensitivity_and_relu_an_infinite_condition():
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=4)

    def seen(activation):
        phi = make_activation(activation)
        network = enriched_network(jax.random.key(2), D, (8, 8), C, activation=phi)
        system = gd.make_system(network, task, coordinates="weights")
        record = gd.Record(["conditioning"], at=[0])
        return gd.simulate(system, gd.GradientDescent(0.01), 1, record).records

    linear = seen("linear")
    np.testing.assert_allclose(linear["spectral_sensitivity"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(linear["log_condition"], 0.0, atol=1e-13)
    dead = seen("relu")
    assert np.isposinf(dead["log_condition"][0])
    # All singular values of an isometry behind dead units: 1 by cosines of angles between spaces.
    assert 1 <= dead["chain_rank"][0] <= 7
    assert np.isfinite(dead["log_rank_condition"][0])
    assert linear["chain_rank"][0] == 8
    network = gd.init_network(jax.random.key(0), D, (8,), C)
    system = gd.make_system(network, task, coordinates="weights")
    with pytest.raises(gd.InputError, match="square hidden layer"):
        gd.simulate(system, gd.GradientDescent(0.01), 1, gd.Record(["conditioning"]))
