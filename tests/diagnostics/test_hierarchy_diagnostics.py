"""Diagnostics of the field laws, the operators and the closures, along runs made by hand too."""

import functools
from itertools import pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import autodiff_kernels, numpy_descent, plain, random_network, squared_loss

import gramdyn as gd
from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.diagnostics import Record, make_diagnostic
from gramdyn.diagnostics.companion import Companion
from gramdyn.dynamics import Adaptive, GradientDescent, Optax, RungeKutta4, simulate
from gramdyn.systems import Closure, NetworkFields, field_system, make_field_system, make_system

N, D, C, ETA, EVERY, N_STEPS = 5, 4, 2, 0.05, 5, 20
SAVED = range(0, N_STEPS + 1, EVERY)
TASK = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=3)
X, Y = np.asarray(TASK.inputs), np.asarray(TASK.targets)
# depth by widths, with a trained readout, and fixed ones
RUNS = {
    "deep": ((9, 7, 8), True),
    "fixed": ((9, 7, 8), False),
    "shallow": ((9,), False),
}
BY_RUN = pytest.mark.parametrize("which", list(RUNS))
COUNT = 3


def _network(which: str):
    widths, trained = RUNS[which]
    return random_network(
        jax.random.key(3),
        D,
        widths,
        C,
        bias=which == "deep",
        parametrization="ntk" if which == "fixed" else "standard",
        train_readout=trained,
    )


@functools.cache
def _run(which: str):
    """A run with all of them recorded, in Gram coordinates."""
    names = ["transport", "decay_share", "kernel_velocity", "flip_current", "operator_traces"]
    record = Record([*names, make_diagnostic("operator_spectra", count=COUNT)], every=EVERY)
    system = make_system(_network(which), TASK, coordinates="gram")
    result = simulate(system, GradientDescent(ETA), N_STEPS, record)
    assert int(result.status) == 0
    return result


@functools.cache
def _history(which: str) -> list:
    """The weights of the same run at every step, by hand."""
    network = _network(which)
    trained = [layer.trainable for layer in network.layers]
    start = plain(network, "relu")
    return [
        numpy_descent(start, X, Y, step, ETA, trained=trained)["params"]
        for step in range(N_STEPS + 1)
    ]


def _sweeps(which: str, params) -> tuple:
    """Effective weights, h from the inputs on, masks, q and residual of given weights, in numpy."""
    scales = plain(_network(which), "relu")[1]
    w = [scale * layer[0] for scale, layer in zip(scales, params, strict=True)]
    h, masks = [X], []
    for one, (_, bias) in zip(w[:-1], params[:-1], strict=True):
        z = h[-1] @ one.T + (0.0 if bias is None else bias[None, :])
        masks.append((z > 0).astype(float))
        h.append(masks[-1] * z)
    residual = h[-1] @ w[-1].T - Y
    q = [np.broadcast_to(w[-1][None], (N, *w[-1].shape))]
    for mask, one in zip(masks[:0:-1], w[-2:0:-1], strict=True):
        q.append((mask[:, None, :] * q[-1]) @ one)
    return w, h, masks, q[::-1], residual


def _moves(which: str, params, scales) -> list:
    """Velocity of the weights: minus the autodiff gradient, 0 for what does not train."""
    gradient = jax.grad(squared_loss)(params, scales, 0.0, X, Y, 1.0)
    layers = zip(gradient, _network(which).layers, strict=True)
    return [
        jax.tree.map(lambda g, on=on.trainable: -g if on else 0.0 * g, one) for one, on in layers
    ]


def _close(found, wanted) -> None:
    wanted = np.asarray(wanted)
    # twenty steps of rounding; measured worst 2e-14
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11 * max(np.abs(wanted).max(), 1e-3))


def _norm(array) -> float:
    return float(np.linalg.norm(np.ravel(array)))


# Laws.


@functools.cache
def _kernels(which: str) -> list:
    """Autodiff kernels of the trained layers at saved times, and their derivative by jvp."""
    _, scales, slope = plain(_network(which), "relu")
    trained = [layer.trainable for layer in _network(which).layers]

    @jax.jit
    def both(params):
        kernels = lambda params: autodiff_kernels(params, scales, slope, X)  # noqa: E731
        return jax.jvp(kernels, (params,), (_moves(which, params, scales),))

    found = []
    for step in SAVED:
        pairs = both([tuple(layer) for layer in _history(which)[step]])
        found.append(
            [[np.asarray(k) for k, on in zip(x, trained, strict=True) if on] for x in pairs]
        )
    return found


@BY_RUN
def test_decay_shares_are_those_of_formed_kernels(which: str) -> None:
    found = np.asarray(_run(which)["decay_share"])
    assert found.shape == (len(SAVED), len(RUNS[which][0]) + RUNS[which][1])
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-14)
    for k, (step, (kernels, _)) in enumerate(zip(SAVED, _kernels(which), strict=True)):
        r = _sweeps(which, _history(which)[step])[-1]
        rates = np.array([np.einsum("mc,mcne,ne->", r, one, r) for one in kernels])
        _close(found[k], rates / rates.sum())


def test_shares_of_a_solved_task_are_zero() -> None:
    """No residual, no decay and no velocity: 0, not 0 / 0."""
    system = make_system(_network("deep"), TASK, coordinates="weights")
    there = system.fields(system.initial_state())
    fields = NetworkFields(there.network, there.inputs, there.outputs, there.loss_function)
    assert not np.any(fields.residual)
    for name in ("decay_share", "transport", "kernel_velocity"):
        for array in make_diagnostic(name).observe(None, fields)[0].values():
            assert not np.any(array)


@BY_RUN
def test_transport(which: str) -> None:
    """Speeds by autodiff along the weights' velocity; own parts by hand, the rest is carried."""
    result, depth = _run(which), len(RUNS[which][0])
    scales = plain(_network(which), "relu")[1]

    def look(params):
        h, pres = jnp.asarray(X), []
        for (w, b), scale in zip(params[:-1], scales[:-1], strict=True):
            z = scale * (h @ w.T)
            z = z if b is None else z + b[None, :]
            pres.append(z)
            h = jnp.where(z > 0, z, 0.0)
        q = [jnp.broadcast_to((scales[-1] * params[-1][0])[None], (N, C, h.shape[1]))]
        for z, (w, _), scale in zip(pres[:0:-1], params[-2:0:-1], scales[-2:0:-1], strict=True):
            q.append(jnp.where(z[:, None, :] > 0, q[-1], 0.0) @ (scale * w))
        return pres, q[::-1]

    @jax.jit
    def rates(params):
        return jax.jvp(look, (params,), (_moves(which, params, scales),))[1]

    layers = _network(which).layers
    for k, step in enumerate(SAVED):
        params = [tuple(layer) for layer in _history(which)[step]]
        pre_rates, conj_rates = rates(params)
        _, h, masks, q, r = _sweeps(which, params)
        sens = [mask[:, None, :] * one for mask, one in zip(masks, q, strict=True)]
        sens.append(np.broadcast_to(np.eye(C)[None], (N, C, C)))
        drives = [np.einsum("nc,nci->ni", r, one) for one in sens]
        for i in range(depth):
            found = {name: float(result[name][k, i]) for name in _LAWS}
            gram = scales[i] ** 2 * h[i] @ h[i].T + (layers[i].bias is not None)
            own = -gram @ drives[i]
            _close(found["pre_velocity"], _norm(pre_rates[i]))
            carried = _norm(pre_rates[i] - own) if i > 0 else 0.0
            _close(found["transport_share"], carried / (carried + _norm(own)))
            above, on = i + 1, layers[i + 1].trainable
            own = np.einsum("mci,ni,nj->mcj", sens[above], drives[above], h[above])
            own = -(scales[above] ** 2) * on * own
            _close(found["conj_velocity"], _norm(conj_rates[i]))
            # rounding where nothing is carried
            carried = _norm(conj_rates[i] - own) if i + 2 < depth + RUNS[which][1] else 0.0
            _close(found["pullback_share"], carried / max(carried + _norm(own), 1e-300))


_LAWS = ("pre_velocity", "conj_velocity", "transport_share", "pullback_share")


def test_transport_is_zero_where_no_operator_is() -> None:
    """Forward in the first layer; backward in the last two, or the last if the readout trains."""
    for which, carried in (("deep", [1, 1, 0]), ("fixed", [1, 0, 0]), ("shallow", [0])):
        result = _run(which)
        pushed = [0, 1, 1][: len(carried)]
        for name, pattern in (("transport_share", pushed), ("pullback_share", carried)):
            found = np.asarray(result[name])
            assert np.all((found > 0) == np.array(pattern, bool)), (which, name)
            assert np.all(found < 1)
    # a fixed readout: the last conjugate field stands still
    assert not np.any(_run("fixed")["conj_velocity"][:, -1])


@BY_RUN
def test_kernel_velocity_is_the_derivative_of_autodiff_kernels(which: str) -> None:
    result = _run(which)
    for k, (kernels, speeds) in enumerate(_kernels(which)):
        wanted = [_norm(one) / _norm(of) for one, of in zip(speeds, kernels, strict=True)]
        _close(result["layer_kernel_velocity"][k], wanted)
        _close(result["kernel_velocity"][k], _norm(sum(speeds)) / _norm(sum(kernels)))
        assert min(wanted[1:], default=1.0) > 1e-3


# Flips.


@BY_RUN
def test_flip_current_of_a_recorded_trajectory(which: str) -> None:
    """Jumps from the weights of every step, each flip carried down by explicit products, summed."""
    result, history = _run(which), _history(which)
    depth = len(RUNS[which][0])
    jumps, smooths, flips = np.zeros((1, depth)), np.zeros((1, depth)), 0
    sums = None
    for step, (params, after) in enumerate(pairwise(history)):
        w, _, masks, q, _ = _sweeps(which, params)
        _, _, masks_after, q_after, _ = _sweeps(which, after)
        if step % EVERY == 0:
            sums = [[np.zeros_like(one), np.zeros_like(one)] for one in q]
        for end in range(depth):
            jump = np.zeros_like(q[end])
            for start, mu in product(range(end + 1, depth), range(N)):
                change = masks_after[start][mu] - masks[start][mu]
                flips += int(np.abs(change).sum())
                rows = (change[None, :] * q_after[start][mu]) @ w[start]
                for k in range(start - 1, end, -1):
                    rows = (masks[k][mu][None, :] * rows) @ w[k]
                jump[mu] += rows
            sums[end][0] += jump
            sums[end][1] += q_after[end] - q[end] - jump
        if step % EVERY == EVERY - 1:
            jumps = np.concatenate([jumps, [[_norm(one[0]) for one in sums]]])
            smooths = np.concatenate([smooths, [[_norm(one[1]) for one in sums]]])
    _close(result["conj_flip"], jumps)
    _close(result["conj_smooth"], smooths)
    whole = jumps + smooths
    _close(result["flip_current"], np.where(whole > 0, jumps / np.where(whole > 0, whole, 1), 0))
    if depth > 1:
        assert flips > 20
        assert np.all(np.asarray(result["conj_flip"])[:, :-1].sum(axis=0) > 1e-2)
    for name in ("flip_current", "conj_flip"):  # the last hidden layer has no mask above it
        assert not np.any(result[name][:, -1])
        assert not np.any(result[name][0])
    # at t = 0 nothing has moved, but for the rounding of two programs for the same fields
    assert np.all(np.asarray(result["conj_smooth"][0]) < 1e-14)


def test_linear_networks_have_no_flip_current() -> None:
    network = random_network(jax.random.key(3), D, (9, 7), C, activation="linear")
    system = make_system(network, TASK)
    result = simulate(system, GradientDescent(ETA), 10, Record(["flip_current"], every=5))
    assert not np.any(result["conj_flip"])
    assert np.all(result["conj_smooth"][1:, 0] > 0)


# Operators.


def _jacobians(which: str, params) -> dict:
    """J_mu of each operator by kind and place in its table, by explicit matrices."""
    w, _, masks, _, _ = _sweeps(which, params)
    depth, found = len(masks), {}
    for end, start, mu in product(range(depth), range(depth), range(N)):
        diagonal = [np.diag(mask[mu]) for mask in masks]
        jac = np.eye(masks[end].shape[1])
        if start < end:  # Gamma^{end,start}
            for k in range(end, start, -1):
                jac = jac @ w[k] @ diagonal[k - 1]
            found["push", end, start, mu] = jac
        elif start > end:  # P^{end,start+1}
            for k in range(end + 1, start + 1):
                jac = jac @ w[k].T @ diagonal[k] if k > end + 1 else w[k].T @ diagonal[k]
            found["pull", end, start, mu] = jac
    return found


@BY_RUN
def test_operator_traces_are_laid_out_by_pairs_of_layers(which: str) -> None:
    widths = RUNS[which][0]
    depth = len(widths)
    for k, step in enumerate(SAVED):
        jacs = _jacobians(which, _history(which)[step])
        wanted = {kind: np.zeros((depth, depth, N, N)) for kind in ("push", "pull")}
        for table in wanted.values():
            for layer, width in enumerate(widths):
                table[layer, layer] = width
        for (kind, end, start, mu), jac in jacs.items():
            for nu in range(N):
                wanted[kind][end, start, mu, nu] = np.sum(jac * jacs[kind, end, start, nu])
        for kind, table in wanted.items():
            _close(_run(which)[f"{kind}_traces"][k], table)


@BY_RUN
def test_operator_spectra_are_laid_out_by_pairs_of_layers(which: str) -> None:
    depth = len(RUNS[which][0])
    for k, step in enumerate(SAVED):
        wanted = {kind: np.zeros((depth, depth, N, COUNT)) for kind in ("push", "pull")}
        for table in wanted.values():
            table[range(depth), range(depth)] = 1.0
        for (kind, end, start, mu), jac in _jacobians(which, _history(which)[step]).items():
            values = np.linalg.svd(jac, compute_uv=False)[:COUNT] ** 2
            wanted[kind][end, start, mu, : len(values)] = values
        for kind, table in wanted.items():
            _close(_run(which)[f"{kind}_spectra"][k], table)


def test_operator_traces_by_probes() -> None:
    def traces(**options):
        record = Record([make_diagnostic("operator_traces", **options)], at=[0])
        system = make_system(_network("deep"), TASK)
        return simulate(system, GradientDescent(ETA), 1, record).records

    found, other = traces(probes=64), traces(probes=64, seed=1)
    for kind, off in (("push", np.tril_indices(3, -1)), ("pull", np.triu_indices(3, 1))):
        exact = np.asarray(_run("deep")[f"{kind}_traces"][0])
        mean, error = (np.asarray(found[f"{kind}_traces{end}"][0]) for end in ("", "_error"))
        assert mean.shape == error.shape == (3, 3, N, N)
        # identities and empty places are known
        for place in product(range(3), repeat=2):
            if place not in set(zip(*off, strict=True)):
                np.testing.assert_array_equal(mean[place], exact[place])
                assert not np.any(error[place])
        away, size = np.abs(mean - exact)[off], error[off]
        assert np.all(size > 0)
        # 75 entries of 64 probes; a fifth standard error is met once in 10^4 such tables
        assert np.all(away < 5 * size)
        assert 0.3 < np.sqrt(np.mean((away / size) ** 2)) < 1.7
        assert np.all(np.asarray(other[f"{kind}_traces"][0])[off] != mean[off])


# Closures.

CLOSED = ("exact", "flips_omitted", "frozen", "dropped", {"order": 1}, {"expansion": 1})
LABELS = ("exact", "flips_omitted", "frozen", "dropped", "order-1", "expansion-1")


def all_pre(fields):
    """Preactivations of every hidden layer, side by side."""
    return jnp.concatenate([trace.pre for trace in fields.traces[:-1]], axis=1)


@functools.cache
def _apart(closure: str) -> tuple:
    """Residuals of the run and of a closed system alone, and what lies between their fields."""
    every, scheme, network = Record(["residual", all_pre]), GradientDescent(ETA), _network("deep")
    run = make_system(network, TASK, coordinates="weights")
    closed = make_field_system(
        network, TASK, closure=dict(zip(LABELS, CLOSED, strict=True))[closure]
    )
    run, closed = (simulate(one, scheme, N_STEPS, every) for one in (run, closed))
    field_gap = np.asarray(closed["all_pre"] - run["all_pre"])
    return np.asarray(run["residual"]), np.asarray(closed["residual"] - run["residual"]), field_gap


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_closure_errors_are_those_of_systems_run_alone(coordinates: str) -> None:
    assert make_diagnostic("closure_error", closures=list(CLOSED)).labels() == {"closure": LABELS}
    names = ("exact", "frozen", "order-1", "expansion-1")
    closures = [dict(zip(LABELS, CLOSED, strict=True))[name] for name in names]
    made = make_diagnostic("closure_error", closures=closures)
    system = make_system(_network("deep"), TASK, coordinates=coordinates)
    found = simulate(system, GradientDescent(ETA), N_STEPS, Record([made], every=EVERY))
    for (j, name), (k, step) in product(enumerate(names), enumerate(SAVED)):
        r, gap, field_gap = (one[: step + 1] for one in _apart(name))
        wanted = {
            "closure_error": _norm(gap) / _norm(r),
            "residual_gap": np.abs(gap).max(),
            "field_gap": np.abs(field_gap).max(),
        }
        for array, value in wanted.items():
            # differences of numbers of order one
            np.testing.assert_allclose(found[array][k, j], value, rtol=0, atol=1e-12)
    last = np.asarray(found["closure_error"][-1])
    assert last[0] < 1e-13
    assert np.all(last[1:] > 1e-3)


@pytest.mark.parametrize(
    "scheme", [RungeKutta4(0.02), GradientDescent(0.02, momentum=0.7)], ids=["rk4", "momentum"]
)
def test_closure_errors_under_other_schemes(scheme) -> None:
    network = gd.init_network(jax.random.key(0), D, (8, 7), C, train_readout=True)
    system = make_system(network, TASK)
    record = Record(["residual", make_diagnostic("closure_error", closures=["frozen"])])
    run = simulate(system, scheme, 10, record)
    closed = make_field_system(network, TASK, closure="frozen")
    alone = simulate(closed, scheme, 10, Record(["residual"]))["residual"]
    gap, r = np.asarray(alone - run["residual"]), np.asarray(run["residual"])
    wanted = [_norm(gap[: k + 1]) / _norm(r[: k + 1]) for k in range(11)]
    np.testing.assert_allclose(run["closure_error"][:, 0], wanted, rtol=0, atol=1e-12)
    assert wanted[-1] > 1e-4


def test_a_closure_that_blows_up_is_infinitely_far() -> None:
    """A step at which the run converges and the fields without operators do not: key 2 is one."""
    network = gd.init_network(jax.random.key(2), D, (8, 7, 8), C)
    record = Record(["loss", make_diagnostic("closure_error", closures=["dropped"])], every=400)
    run = simulate(make_system(network, TASK), GradientDescent(0.1), 400, record)
    assert int(run.status) == 0
    assert float(run["loss"][-1]) < 1e-2 * float(run["loss"][0])
    for name in ("closure_error", "residual_gap", "field_gap"):
        assert np.isposinf(run[name][-1, 0])


TINY = """
task: {kind: gaussian, n_samples: 6, n_inputs: 4}
network: {widths: [8, 7]}
scheme: {kind: gradient_descent, step_size: 0.03, n_steps: 10}
record:
  every: 5
  of:
    - {name: closure_error, closures: [frozen, {order: 1}]}
    - {name: operator_traces, probes: 4}
    - operator_spectra
precision: float64
sweep: {seed: {count: 2}}
"""


def test_closures_are_labels_of_what_is_stored(tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    gd.run_sweep(gd.load_config(tmp_path / "tiny.yaml"), tmp_path / "run")
    (node,) = gd.open(tmp_path / "run").children.values()
    assert [str(label) for label in node["closure"].values] == ["frozen", "order-1"]
    assert node["closure_error"].dims == ("run", "closure", "step")
    pairs = ("run", "hidden", "hidden_2", "sample")
    assert node["push_spectra"].dims == (*pairs, "operator_rank", "step")
    assert node["pull_traces_error"].dims == (*pairs, "sample_2", "step")
    task = gaussian(n_samples=6, n_inputs=4)
    made = make_diagnostic("closure_error", closures=["frozen", {"order": 1}])
    for run, seed in enumerate(node["seed"].values):
        network = gd.init_network(jax.random.key(int(seed)), 4, (8, 7))
        record = Record([made], every=5)
        alone = simulate(make_system(network, task), GradientDescent(0.03), 10, record)
        for j, name in enumerate(("frozen", "order-1")):
            for array in ("closure_error", "residual_gap", "field_gap"):
                stored = node[array].sel(closure=name).isel(run=run).values
                # two programs
                np.testing.assert_allclose(stored, alone[array][:, j], rtol=0, atol=1e-12)
                assert stored[-1] > 1e-6


# Options.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("operator_traces", {"probes": 1}, r"Argument `probes` must be at least 2, but is 1\."),
        ("operator_traces", {"probes": 0}, r"Argument `probes` must be a whole number of at"),
        ("operator_traces", {"seed": -1}, r"Argument `seed` must be a whole number of at least 0"),
        ("operator_spectra", {"count": 0}, r"Argument `count` must be a whole number of at least"),
        ("closure_error", {"closures": []}, r"Argument `closures` must be a list of exact, flips_"),
        ("closure_error", {"closures": "exact"}, r"Argument `closures` must be a list of exact"),
        (
            "closure_error",
            {"closures": ["frozen", "dropped", "frozen"]},
            r"Argument `closures` must name each closure once",
        ),
        (
            "closure_error",
            {"closures": [{"order": 1}, {"order": 1}]},
            r"Argument `closures` must name each closure once",
        ),
        (
            "closure_error",
            {"closures": [{"ordre": 1}]},
            r"Unknown key of a closure `ordre`; did you mean `order`\?",
        ),
        (
            "closure_error",
            {"closures": ["frozzen"]},
            r"Unknown closure `frozzen`; did you mean `frozen`\?",
        ),
        ("closure_error", {"closure": ["frozen"]}, r"Diagnostic `closure_error` does not take"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_options_are_refused_in_one_line(name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as told:
        make_diagnostic(name, **options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("closure", "scheme", "kind"),
    [
        ("exact", GradientDescent(ETA, momentum=0.5), "GradientDescent"),
        ("exact", GradientDescent(ETA, weight_decay=0.1), "GradientDescent"),
        ("exact", RungeKutta4(ETA), "RungeKutta4"),
        ("exact", Optax("adam", ETA), "Optax"),
        ("frozen", Optax("adam", ETA), "Optax"),
        ("frozen", GradientDescent(ETA, weight_decay=0.1), "GradientDescent"),
    ],
    ids=["momentum", "decay", "rk4", "adam", "frozen-adam", "frozen-decay"],
)
def test_closures_refuse_schemes_they_have_no_law_for(closure, scheme, kind: str) -> None:
    system = make_system(_network("fixed"), TASK, coordinates="weights")
    record = Record([make_diagnostic("closure_error", closures=[closure])])
    demand = {
        "exact": "gradient descent without momentum and decay",
        "frozen": "linear in the gradient and without weight decay",
    }[closure]
    message = (
        rf"^Argument `scheme` must be {demand}.* \(diagnostic `closure_error`\), but is {kind}"
    )
    with pytest.raises(InputError, match=message) as told:
        simulate(system, scheme, 2, record)
    assert "\n" not in str(told.value)


def test_more_eigenvalues_than_neurons_are_refused() -> None:
    record = Record([make_diagnostic("operator_spectra", count=9)])
    with pytest.raises(InputError, match=r"Argument `count` must be at most the smallest width"):
        simulate(make_system(_network("fixed"), TASK), GradientDescent(ETA), 1, record)


def test_a_companion_whose_steps_run_out_has_infinite_error() -> None:
    """Standing still it would be compared with the run as if it were right."""
    system = make_system(_network("fixed"), TASK, coordinates="weights")
    closed = field_system(system.fields(system.initial_state()), "dropped")
    scheme = Adaptive(jnp.asarray(0.5), jnp.asarray(1e-9), jnp.asarray(1e-12), 2)
    companion = Companion.of(closed, scheme, "test")
    companion = companion.step(companion.fields())
    assert bool(jnp.all(jnp.isnan(companion.fields().residual)))


@pytest.mark.parametrize(
    "closures",
    [[{}], [{"order": None}], [{"order": 1, "expansion": 0}, {"expansion": 0, "order": 1}]],
)
def test_closures_that_say_nothing_or_the_same_twice_are_refused(closures) -> None:
    with pytest.raises(InputError, match=r"Argument `closure"):
        make_diagnostic("closure_error", closures=closures)


def test_a_closure_is_called_by_its_name_or_its_cuts() -> None:
    made = make_diagnostic("closure_error", closures=[Closure(), {"expansion": 0}, {"order": 2}])
    assert made.labels() == {"closure": ("exact", "frozen", "order-2")}
