"""Diagnostics of feature learning against the kernels on a network's own arrays and autodiff."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.diagnostics.weight_grams import learning_equation
from gramdyn.kernels.collapse import neural_collapse
from gramdyn.kernels.target_linearity import (
    principal_scores,
    reference_linearity,
    target_linearity,
)
from gramdyn.kernels.weight_gram import virtual_change
from gramdyn.models import init_network, make_activation
from gramdyn.systems import CrossEntropyLoss, make_system
from gramdyn.systems.batches import in_batches

N, C, WIDTHS, ETA = 30, 3, (12, 9), 0.3
NAMES = ["target_linearity", "surrogate", "learning_equation", "gram_virtual", "feature_ansatz"]
NAMES += ["collapse", "accuracy"]


@pytest.fixture(scope="module")
def task():
    return gd.digits(classes=(0, 1, 2), n_samples=N, one_hot=True).cast("float64")


def system_of(task, parametrization="uniform", coordinates="weights"):
    network = init_network(
        jax.random.key(0),
        64,
        WIDTHS,
        C,
        activation=make_activation("gelu"),
        parametrization=parametrization,
        train_readout=True,
        bias=parametrization == "uniform",
        readout_bias=True,
    )
    return make_system(network, task, loss=CrossEntropyLoss(), coordinates=coordinates)


@pytest.fixture(scope="module")
def run(task):
    system = system_of(task)
    record = gd.Record([*NAMES, "loss"], every=20)
    return system, gd.simulate(system, gd.GradientDescent(ETA), 40, record)


def test_targets_of_one_hot_digits(task):
    np.testing.assert_array_equal(np.argmax(task.targets, axis=1), task.labels)
    np.testing.assert_array_equal(np.sum(task.targets, axis=1), 1.0)
    assert set(np.unique(task.targets)) == {0.0, 1.0}


def test_values_at_the_end_are_those_of_the_network(run, task):
    system, found = run
    network = eqx.combine(found.state, system.start.partition()[1])
    traces = network.traces(jnp.asarray(task.inputs))
    for i, trace in enumerate(traces[:-1]):
        wanted = target_linearity(trace.act, jnp.asarray(task.targets))
        np.testing.assert_allclose(found["linearity"][-1, i], wanted.value, atol=1e-12)
        np.testing.assert_allclose(found["linearity_adjusted"][-1, i], wanted.adjusted, atol=1e-11)
        assert int(found["linearity_rank"][-1, i]) == WIDTHS[i]
    right = np.argmax(np.asarray(traces[-1].act), axis=1) == np.asarray(task.labels)
    assert found["accuracy"][-1] == right.mean()
    assert float(jnp.max(found["learning_equation"])) < 1e-13
    last = network.layers[-1]
    wanted = neural_collapse(traces[-2].act, task.labels, last.weight, last.bias)
    np.testing.assert_allclose(found["collapse_within"][-1], wanted.within, rtol=1e-9)
    np.testing.assert_allclose(found["collapse_duality"][-1], wanted.duality, rtol=1e-9)
    assert np.all((found["surrogate_normalised"] > 0) & (found["surrogate_normalised"] <= 1))


@pytest.mark.parametrize("parametrization", ["uniform", "ntk"])
def test_gram_and_virtual_covariance_of_the_next_step(task, parametrization):
    """The change of W^T W in the step that is made, and that of the virtual inputs by autodiff."""
    system = system_of(task, parametrization)
    record = gd.Record(["gram_virtual"], every=1)
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)
    state, rest = system.start.partition()
    after = system.velocity(state)
    network = eqx.combine(state, rest)
    for i, layer in enumerate(network.layers):
        scale = 1.0 if layer.scale is None else layer.scale
        now, then = scale * layer.weight, scale * (layer.weight + ETA * after.layers[i].weight)
        moved = then.T @ then - now.T @ now

        def loss(shift, i=i):
            act = jnp.asarray(task.inputs)
            for j, one in enumerate(network.layers):
                act = one.forward(act + shift if j == i else act).act
            logs = jax.nn.log_softmax(act, axis=1)
            return -jnp.mean(jnp.sum(jnp.asarray(task.targets) * logs, axis=1))

        inputs = network.traces(jnp.asarray(task.inputs))[i].inputs
        pulled = jax.grad(loss)(jnp.zeros_like(inputs))
        virtual = inputs - ETA * scale**2 * pulled
        other = virtual.T @ virtual - inputs.T @ inputs
        cosine = jnp.sum(moved * other) / jnp.linalg.norm(moved) / jnp.linalg.norm(other)
        gap = jnp.linalg.norm(moved - other) / jnp.linalg.norm(moved)
        np.testing.assert_allclose(found["gram_cosine"][0, i], cosine, rtol=1e-8)
        np.testing.assert_allclose(found["gram_gap"][0, i], gap, rtol=1e-6)


def test_the_readouts_ansatz_is_exact_and_others_are_those_of_the_jacobian(task):
    system = system_of(task)
    record = gd.Record([gd.diagnostics.make_diagnostic("feature_ansatz", power=1.0)], every=1)
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)["feature_ansatz"][0]
    np.testing.assert_allclose(found[-1], 1.0, atol=1e-12)
    network = eqx.combine(*system.start.partition())
    jacobians = jax.vmap(jax.jacrev(lambda x: network(x[None])[0]))(jnp.asarray(task.inputs))
    product = np.mean([np.asarray(j).T @ np.asarray(j) for j in jacobians], axis=0)
    weight = np.asarray(network.layers[0].weight)
    gram = weight.T @ weight
    cosine = np.sum(gram * product) / np.linalg.norm(gram) / np.linalg.norm(product)
    np.testing.assert_allclose(found[0], cosine, rtol=1e-10)


@pytest.mark.parametrize(
    "name",
    [
        *("learning_equation", "gram_virtual", "gram_step", "gram_cumulative"),
        *("feature_ansatz", "virtual_cloud"),
    ],
)
def test_those_of_weights_are_refused_in_gram_coordinates(task, name):
    with pytest.raises(gd.InputError, match="be weights for diagnostic"):
        gd.simulate(
            system_of(task, coordinates="gram"), gd.GradientDescent(ETA), 1, gd.Record([name])
        )


def test_other_refusals(task):
    with pytest.raises(gd.InputError, match="be gradient descent for gram_virtual"):
        gd.simulate(
            system_of(task), gd.GradientDescent(ETA, momentum=0.9), 1, gd.Record(["gram_virtual"])
        )
    one = gd.gaussian(n_samples=5, n_inputs=3)
    system = make_system(init_network(jax.random.key(0), 3, (4,)), one)
    with pytest.raises(gd.InputError, match="be at least 2 for diagnostic `collapse`"):
        gd.simulate(system, gd.GradientDescent(0.1), 1, gd.Record(["collapse"]))


def named(name, **options):
    return gd.diagnostics.make_diagnostic(name, **options)


@pytest.fixture(scope="module")
def split():
    options = {"classes": (0, 1, 2), "n_samples": N, "one_hot": True, "n_heldout": 21}
    return gd.digits(**options).cast("float64")


def test_samples_held_out_say_what_the_network_answers_there(split):
    system = system_of(split)
    of = ["heldout_loss", "heldout_accuracy", named("target_linearity", heldout=True)]
    found = gd.simulate(system, gd.GradientDescent(ETA), 40, gd.Record(of, every=20))
    network = eqx.combine(found.state, system.start.partition()[1])
    inputs, targets = split.held_out.inputs, split.held_out.targets
    outputs = network(inputs)
    loss = -np.mean(np.sum(np.asarray(targets * jax.nn.log_softmax(outputs)), axis=1))
    np.testing.assert_allclose(found["heldout_loss"][-1], loss, rtol=1e-12)
    right = np.argmax(np.asarray(outputs), axis=1) == np.argmax(np.asarray(targets), axis=1)
    np.testing.assert_allclose(found["heldout_accuracy"][-1], right.mean(), rtol=1e-15)
    # An affine map by NumPy's least squares on the others.
    seen = np.asarray(network.traces(split.inputs)[0].act)
    new = np.asarray(network.traces(inputs)[0].act)
    one = lambda rows: np.concatenate([rows, np.ones((len(rows), 1))], axis=1)  # noqa: E731
    fit = one(new) @ np.linalg.lstsq(one(seen), np.asarray(split.targets), rcond=None)[0]
    base = np.sum((np.asarray(targets) - np.asarray(split.targets).mean(axis=0)) ** 2)
    wanted = 1 - np.sum((np.asarray(targets) - fit) ** 2) / base
    np.testing.assert_allclose(found["heldout_linearity"][-1, 0], wanted, rtol=1e-8)


def test_samples_held_out_change_no_trajectory(split):
    plain = replace(split, held_out=None)
    ends = [
        gd.simulate(system_of(task), gd.GradientDescent(ETA), 10, gd.Record(["loss"]))
        for task in (split, plain)
    ]
    np.testing.assert_array_equal(ends[0]["loss"], ends[1]["loss"])


@pytest.mark.parametrize("coordinates", ["auto", "gram"])
def test_samples_held_out_need_weights(split, coordinates):
    if coordinates == "gram":
        with pytest.raises(gd.InputError, match="be weights with samples held out"):
            system_of(split, coordinates=coordinates)
    else:
        wide = replace(split, inputs=split.inputs[:, :64])
        assert system_of(wide, coordinates=coordinates).coordinates == "weights"


def test_without_samples_held_out_that_is_told(task):
    for name in ("heldout_loss", "heldout_accuracy"):
        with pytest.raises(gd.InputError, match="but the task has none"):
            gd.simulate(system_of(task), gd.GradientDescent(ETA), 1, gd.Record([name]))
    record = gd.Record([named("target_linearity", heldout=True)])
    with pytest.raises(gd.InputError, match="but the task has none"):
        gd.simulate(system_of(task), gd.GradientDescent(ETA), 1, record)


def test_options_of_target_linearity_are_those_of_the_kernels(task):
    system = system_of(task)
    acts = [trace.act for trace in system.fields(system.initial_state()).traces[:-1]]
    wanted = jnp.asarray(task.targets)
    cases = {
        "linearity": [
            ({"ridge": 0.3}, lambda act: target_linearity(act, wanted, ridge=0.3).value),
            (
                {"intercept": False},
                lambda act: target_linearity(act, wanted, intercept=False).value,
            ),
            (
                {"components": 4},
                lambda act: target_linearity(principal_scores(act, 4), wanted).value,
            ),
        ],
        "reference_linearity": [
            (
                {"mode": "reference"},
                lambda act: reference_linearity(act, wanted - wanted.mean(axis=0)[None]),
            )
        ],
    }
    for name, pairs in cases.items():
        for options, kernel in pairs:
            record = gd.Record([named("target_linearity", **options)])
            found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)[name][0]
            np.testing.assert_allclose(found, [kernel(act) for act in acts], rtol=1e-10)


def test_the_last_features_and_what_the_readout_makes_of_them(task):
    system = system_of(task)
    of = ["outputs", named("last_features", ridge=0.01), "loss"]
    found = gd.simulate(system, gd.GradientDescent(ETA), 20, gd.Record(of, every=20))
    network = eqx.combine(found.state, system.start.partition()[1])
    act = np.asarray(network.traces(jnp.asarray(task.inputs))[-2].act)
    y = np.asarray(task.targets)
    fit = act @ np.linalg.solve(act.T @ act + 0.01 * np.eye(act.shape[1]), act.T @ y)
    outputs = np.asarray(found["outputs"][-1])
    for name, gap in (
        ("feature_residual", y - fit),
        ("readout_distance", outputs - fit),
        ("residual_norm", y - outputs),
    ):
        np.testing.assert_allclose(found[name][-1], np.linalg.norm(gap), rtol=1e-9)


def states_of(system, scheme, n_steps):
    """The weights of each step by a plain loop."""
    state, memory, found = system.initial_state(), scheme.init(system.initial_state()), []
    rest = system.start.partition()[1]
    for step in range(n_steps + 1):
        now = system.at(jnp.asarray(step))
        fields = now.fields(state)
        found.append((eqx.combine(state, rest), fields))
        state, memory = scheme.step(now, state, memory, fields)
    return found


def gram(network, i):
    weight = np.asarray(network.layers[i].matrix())
    return weight.T @ weight


@pytest.mark.parametrize("scheme", [gd.GradientDescent(ETA, momentum=0.9), gd.Optax("adam", 0.01)])
@pytest.mark.parametrize("size", [None, 7])
def test_what_a_step_of_any_optimiser_did_to_the_grams(task, scheme, size):
    system = system_of(task)
    if size is not None:
        system = in_batches(system, jax.random.key(1), size, 6)
    found = gd.simulate(system, scheme, 6, gd.Record(["gram_step"], every=3))
    assert np.all(found["gram_step_size"][0] == 0)
    states = states_of(system, scheme, 6)
    for place, step in ((1, 3), (2, 6)):
        (before, fields), (after, _) = states[step - 1], states[step]
        for i in range(3):
            moved = gram(after, i) - gram(before, i)
            seen = fields.trained_on
            sens = np.asarray(seen.loss_scale * seen.drives[i])
            half = (sens @ np.asarray(before.layers[i].weight)).T @ np.asarray(
                seen.traces[i].inputs
            )
            wanted = -(half + half.T)
            cosine = np.sum(moved * wanted) / np.linalg.norm(moved) / np.linalg.norm(wanted)
            np.testing.assert_allclose(found["gram_step_cosine"][place, i], cosine, rtol=1e-7)
            np.testing.assert_allclose(
                found["gram_step_size"][place, i], np.linalg.norm(moved), rtol=1e-7
            )


@pytest.mark.parametrize("parametrization", ["uniform", "ntk"])
def test_grams_and_covariances_since_the_start(task, parametrization):
    system, scheme = system_of(task, parametrization), gd.GradientDescent(ETA)
    found = gd.simulate(system, scheme, 9, gd.Record(["gram_cumulative"], every=3))
    states = states_of(system, scheme, 9)
    like = lambda a, b: (  # noqa: E731
        np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b),
        np.linalg.norm(a - b) / np.linalg.norm(a),
    )
    for i in range(3):
        total, cloud = 0.0, np.asarray(task.inputs)
        for network, fields in states[:-1]:
            layer = network.layers[i]
            eta = ETA if layer.scale is None else ETA * float(layer.scale) ** 2
            inputs = np.asarray(fields.traces[i].inputs)
            pulled = np.asarray(fields.loss_scale * fields.drives[i] @ layer.matrix())
            virtual = inputs - eta * pulled
            total = total + virtual.T @ virtual - inputs.T @ inputs
            cloud = cloud - eta * pulled if i == 0 else cloud
        moved = gram(states[-1][0], i) - gram(states[0][0], i)
        cosine, gap = like(moved, total)
        np.testing.assert_allclose(found["sum_cosine"][-1, i], cosine, rtol=1e-9)
        np.testing.assert_allclose(found["sum_gap"][-1, i], gap, rtol=1e-7)
        if i == 0:
            start = np.asarray(task.inputs)
            cosine, gap = like(moved, cloud.T @ cloud - start.T @ start)
            np.testing.assert_allclose(found["cloud_cosine"][-1], cosine, rtol=1e-9)
            np.testing.assert_allclose(found["cloud_gap"][-1], gap, rtol=1e-7)


def test_a_virtual_cloud_is_the_inputs_less_their_gradients(task):
    system, scheme, gamma = system_of(task), gd.GradientDescent(ETA), 40.0
    found = gd.simulate(
        system, scheme, 6, gd.Record([named("virtual_cloud", gamma=gamma)], every=3)
    )

    def loss(inputs, network):
        logs = jax.nn.log_softmax(network(inputs), axis=1)
        return -jnp.mean(jnp.sum(jnp.asarray(task.targets) * logs, axis=1))

    cloud = jnp.asarray(task.inputs)
    for network, _ in states_of(system, scheme, 6)[:-1]:
        cloud = cloud - gamma * jax.grad(loss)(jnp.asarray(task.inputs), network)
    np.testing.assert_allclose(found["virtual_cloud"][-1], cloud, atol=1e-12)
    wanted = target_linearity(cloud, jnp.asarray(task.targets)).value
    np.testing.assert_allclose(found["cloud_linearity"][-1], wanted, rtol=1e-9)


@pytest.mark.parametrize("options", [{"convention": "per_sample"}, {"centre": True}])
def test_conventions_of_the_virtual_covariance(task, options):
    system = system_of(task)
    record = gd.Record([named("gram_virtual", **options)])
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)
    (before, fields), (after, _) = states_of(system, gd.GradientDescent(ETA), 1)
    for i in range(3):
        inputs = fields.traces[i].inputs
        pulled = fields.loss_scale * fields.drives[i] @ before.layers[i].weight
        one = gram(after, i) - gram(before, i)
        two = np.asarray(virtual_change(inputs, pulled, ETA, **options))
        cosine = np.sum(one * two) / np.linalg.norm(one) / np.linalg.norm(two)
        end = "_centred" if "centre" in options else "_per_sample"
        np.testing.assert_allclose(found[f"gram_cosine{end}"][0, i], cosine, rtol=1e-9)
        gap = np.linalg.norm(one - two) / np.linalg.norm(one)
        np.testing.assert_allclose(found[f"gram_gap{end}"][0, i], gap, rtol=1e-7)


def test_a_wrong_gradient_is_seen_by_the_learning_equation(task, monkeypatch):
    """One row of every weight gradient off by a millionth."""
    system = system_of(task)
    fields, layer = system.fields(system.initial_state()), type(system.start.layers[0])
    right = layer.gradient
    assert float(jnp.max(learning_equation(fields)["learning_equation"])) < 1e-13

    def wrong(layer, trace, drive):
        found = right(layer, trace, drive)
        other = found.weight.at[0].multiply(1 + 1e-6)
        return eqx.tree_at(lambda one: one.weight, found, other)

    monkeypatch.setattr(layer, "gradient", wrong)
    found = learning_equation(fields)
    assert float(jnp.min(found["learning_equation"])) > 1e-11


def test_targets_held_out_are_checked_and_collapse_wants_the_classifiers_outputs(task):
    bad = gd.make_task(task.inputs, task.targets, held_out=(task.inputs, -3.0 * task.targets))
    with pytest.raises(gd.InputError, match="be distributions"):
        system_of(bad)
    network = init_network(jax.random.key(0), 64, WIDTHS, C, train_readout=True)
    system = make_system(network, task, coordinates="weights", centred=True)
    with pytest.raises(gd.InputError, match="be false for diagnostic `collapse`"):
        gd.simulate(system, gd.GradientDescent(0.01), 1, gd.Record(["collapse"]))


def test_conventions_and_the_reference_can_be_recorded_beside_each_other(task):
    of = ["gram_virtual", named("gram_virtual", centre=True), "target_linearity"]
    of += [
        named("target_linearity", mode="reference"),
        named("gram_virtual", convention="per_sample"),
    ]
    found = gd.simulate(system_of(task), gd.GradientDescent(ETA), 1, gd.Record(of))
    assert {"gram_gap", "gram_gap_centred", "gram_gap_per_sample"} <= set(found.records)
    assert {"linearity", "reference_linearity"} <= set(found.records)


def test_the_ansatz_of_what_has_moved_and_of_centred_jacobians(task):
    system, scheme = system_of(task), gd.GradientDescent(ETA)
    of = [named("feature_ansatz", moved=True, centre=True, power=1.0)]
    found = gd.simulate(system, scheme, 5, gd.Record(of, every=5))
    (start, _), *_, (end, _) = states_of(system, scheme, 5)
    weight, first = np.asarray(end.layers[0].weight), np.asarray(start.layers[0].weight)
    jac = np.asarray(jax.vmap(jax.jacrev(lambda x: end(x[None])[0]))(jnp.asarray(task.inputs)))
    less = jac - jac.mean(axis=0)
    product = np.einsum("nci,ncj->ij", less, less) / N
    like = lambda a, b: np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    np.testing.assert_allclose(
        found["feature_ansatz"][-1, 0], like(weight.T @ weight, product), rtol=1e-9
    )
    # dF/dz by the pseudo-inverse of W, which has full row rank.
    by_pre = jac @ np.linalg.pinv(weight)
    inner, moved = np.einsum("nci,ncj->ij", by_pre, by_pre) / N, weight - first
    wanted = like(moved.T @ moved, moved.T @ inner @ moved)
    np.testing.assert_allclose(found["feature_ansatz_moved"][-1, 0], wanted, rtol=1e-8)


def test_collapse_bounds_what_is_not_linear(task):
    of = ["collapse", "target_linearity"]
    found = gd.simulate(system_of(task), gd.GradientDescent(ETA), 40, gd.Record(of, every=20))
    assert np.all(1 - found["linearity"][:, -1] <= found["collapse_bound"] + 1e-12)
    np.testing.assert_allclose(found["collapse_bound"], 1.5 * found["collapse_within"], rtol=1e-14)


def test_both_sides_of_the_learning_equation(task):
    """Of [W b] and (h, 1) by autodiff, and in both forms, n < d in the first layer."""
    system = system_of(task)
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, gd.Record(["learning_equation"]))
    network = eqx.combine(*system.start.partition())

    def loss(network):
        logs = jax.nn.log_softmax(network(jnp.asarray(task.inputs)), axis=1)
        return -jnp.mean(jnp.sum(jnp.asarray(task.targets) * logs, axis=1))

    gradient = eqx.filter_grad(loss)(network)
    for i, layer in enumerate(network.layers):
        one = gradient.layers[i]
        whole = np.concatenate([layer.weight, layer.bias[:, None]], axis=1)
        wanted = whole.T @ np.concatenate([one.weight, one.bias[:, None]], axis=1)
        for side in ("learning_weights", "learning_features"):
            np.testing.assert_allclose(found[side][0, i], np.linalg.norm(wanted), rtol=1e-9)
        np.testing.assert_allclose(found["learning_trace"][0, i], np.trace(wanted), rtol=1e-8)
    for name in ("learning_equation", "learning_centred"):
        assert float(jnp.max(found[name])) < 1e-13


def test_homogeneous_networks_have_one_trace_in_all_layers(task):
    network = init_network(jax.random.key(0), 64, WIDTHS, C, train_readout=True)
    system = make_system(network, task, coordinates="weights")
    trace = gd.simulate(system, gd.GradientDescent(0.01), 1, gd.Record(["learning_equation"]))
    trace = trace["learning_trace"][0]
    np.testing.assert_allclose(trace, trace[0], rtol=1e-13)


@pytest.mark.parametrize("name", ["gram_cumulative", "virtual_cloud"])
def test_what_is_summed_needs_the_whole_training_set(task, name):
    options = {"gamma": 1.0} if name == "virtual_cloud" else {}
    system = in_batches(system_of(task), jax.random.key(0), 5, 1)
    with pytest.raises(gd.InputError, match="`batch_size` must be left out"):
        gd.simulate(system, gd.GradientDescent(0.1), 1, gd.Record([named(name, **options)]))
