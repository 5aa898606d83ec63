"""Runs beside a constant kernel, against plain powers, the exponential and a run by hand."""

import dataclasses
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.plan import make_plan, parse_config
from gramdyn.store import open
from gramdyn.sweep import run_sweep
from gramdyn.systems import AbstractLoss, SquaredLoss

N, D, C, ETA, N_STEPS, EVERY = 5, 6, 2, 0.05, 24, 4
TASK = gd.gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=2)
BOTH = ["linearised", "infinite_width"]
OF = [*BOTH, "residual", "tangent_kernel", "layer_kernels"]
OPTIONS = {"parametrization": "ntk", "bias": True, "train_readout": True}


def _system(coordinates: str = "gram", key=None, widths=(16,)):
    key = jax.random.key(4) if key is None else key
    network = gd.init_network(key, D, widths, C, **OPTIONS)
    return gd.make_system(network, TASK, coordinates=coordinates, loss=SquaredLoss("mean"))


def _run(scheme, coordinates: str = "gram", widths=(16,)):
    system = _system(coordinates, widths=widths)
    return gd.simulate(system, scheme, N_STEPS, gd.Record(OF, every=EVERY)), system


def _kernels(result, system) -> dict[str, np.ndarray]:
    """The two constant kernels as matrices, from the record and from the public function."""
    first = system.start.layers[0]
    limit = gd.limit_kernels(system.start, first.input_gram(first.forward(system.inputs)))
    kernels = {"linear": result["tangent_kernel"][0], "limit": jnp.sum(limit, axis=0)}
    return {name: np.asarray(kernel).reshape(N * C, N * C) for name, kernel in kernels.items()}


def _heavy_ball(kernel: np.ndarray, start: np.ndarray, momentum: float) -> np.ndarray:
    """r at every step of heavy-ball descent, a plain loop."""
    r, move, found = start.copy(), 0.0 * start, [start]
    for _ in range(N_STEPS):
        move = momentum * move - kernel @ r / N
        r = r + ETA * move
        found.append(r)
    return np.stack(found)


def _check(result, system, wanted, *, atol: float) -> None:
    """Losses and distances of both companions, for their residuals at the saved steps."""
    residual = np.asarray(result["residual"]).reshape(-1, N * C)
    for name, rows in wanted.items():
        losses = 0.5 / N * np.sum(rows**2, axis=1)
        errors = np.linalg.norm(residual - rows, axis=1) / np.linalg.norm(residual[0])
        np.testing.assert_allclose(result[f"{name}_loss"], losses, rtol=0, atol=atol * losses[0])
        np.testing.assert_allclose(result[f"{name}_error"], errors, rtol=0, atol=atol)
        assert errors[-1] > 1e-2  # the run does leave them


@pytest.mark.parametrize(("coordinates", "momentum"), [("weights", None), ("gram", 0.6)])
def test_companions_are_a_plain_loop_beside_the_run(coordinates: str, momentum) -> None:
    result, system = _run(gd.GradientDescent(ETA, momentum), coordinates, widths=(16, 12))
    start = np.asarray(result["residual"])[0].ravel()
    wanted = {
        name: _heavy_ball(kernel, start, momentum or 0.0)[::EVERY]
        for name, kernel in _kernels(result, system).items()
    }
    _check(result, system, wanted, atol=1e-12)
    if momentum is None:
        step = np.eye(N * C) - ETA / N * _kernels(result, system)["limit"]
        last = np.linalg.matrix_power(step, N_STEPS) @ start
        np.testing.assert_allclose(result["limit_loss"][-1], 0.5 / N * last @ last, rtol=1e-11)


@pytest.mark.parametrize(
    ("scheme", "atol"),
    # error of a step (rate dt)^5/120 with rates below 1; the adaptive one by its own tolerance
    [
        (gd.RungeKutta4(ETA), 1e-8),
        pytest.param(gd.Adaptive(ETA, rtol=1e-5, atol=1e-7), 1e-5, marks=pytest.mark.slow),
    ],
    ids=["fixed", "adaptive"],
)
def test_companions_of_the_flow_are_the_exponential(scheme, atol: float) -> None:
    result, system = _run(scheme)
    start = jnp.asarray(result["residual"])[0].ravel()
    times = ETA * jnp.asarray(result.steps, start.dtype)
    wanted = {
        name: np.asarray(gd.linear_residual(jnp.asarray(kernel / N), start, times))
        for name, kernel in _kernels(result, system).items()
    }
    _check(result, system, wanted, atol=atol)


def test_distances_of_the_kernels() -> None:
    result, system = _run(gd.GradientDescent(ETA), widths=(16, 12))
    limit = _kernels(result, system)["limit"]
    kernels = np.asarray(result["tangent_kernel"]).reshape(-1, N * C, N * C)
    wanted = np.linalg.norm(kernels - limit, axis=(1, 2)) / np.linalg.norm(limit)
    np.testing.assert_allclose(result["limit_distance"], wanted, rtol=1e-12)
    first = system.start.layers[0]
    layers = np.asarray(gd.limit_kernels(system.start, first.gram)).reshape(3, -1)
    found = np.asarray(result["layer_kernels"]).reshape(-1, 3, layers.shape[1])
    wanted = np.linalg.norm(found - layers, axis=2) / np.linalg.norm(layers, axis=1)
    np.testing.assert_allclose(result["layer_limit_distance"], wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("scheme", "coordinates"),
    [
        (gd.GradientDescent(gd.Relative(0.5), 0.7), "weights"),
        (gd.RungeKutta4(gd.Relative(0.5)), "gram"),
        (gd.Optax("sgd", gd.Relative(0.5), (("momentum", 0.5), ("nesterov", True))), "gram"),
    ],
    ids=["momentum", "flow", "nesterov"],
)
def test_a_network_that_is_linear_in_its_weights_is_its_own_linearisation(
    scheme, coordinates: str
) -> None:
    network = gd.init_network(jax.random.key(1), D, (7,), C, activation=gd.linear(), bias=True)
    system = gd.make_system(network, TASK, coordinates=coordinates)
    result = gd.simulate(system, scheme, N_STEPS, gd.Record(["linearised", "loss"]))
    assert np.max(result["linear_error"]) < 1e-13  # rounding of 24 steps
    np.testing.assert_allclose(result["linear_loss"], result["loss"], rtol=1e-10)
    assert result["loss"][-1] < 0.7 * result["loss"][0]


def test_saved_times_change_nothing() -> None:
    """Companions move in every step, recorded or not."""
    system, scheme = _system(), gd.GradientDescent(ETA, 0.5)
    often = gd.simulate(system, scheme, N_STEPS, gd.Record(BOTH))
    rarely = gd.simulate(system, scheme, N_STEPS, gd.Record(BOTH, at=[0, 1, 7, 20]))
    for name, found in rarely.records.items():
        # another program, so another order of sums
        np.testing.assert_allclose(found, often[name][rarely.steps], rtol=1e-10, atol=1e-13)


def test_each_of_many_runs_has_its_own_companions() -> None:
    def build(params):
        key, share = params
        return _system(key=key), gd.GradientDescent(gd.Relative(share), 0.5)

    keys, shares = jax.random.split(jax.random.key(9), 3), jnp.array([0.1, 0.5, 0.9])
    record = gd.Record(BOTH, every=5)
    alone = gd.simulate(*build((keys[1], shares[1])), N_STEPS, record)
    for batching in ("map", "vmap"):
        many = gd.simulate_many(build, (keys, shares), N_STEPS, record, batching=batching)
        for name, found in alone.records.items():
            np.testing.assert_allclose(many[name][1], found, rtol=1e-9, atol=1e-12)
        assert np.all(np.ptp(np.asarray(many["limit_loss"]), axis=0) > 0)


def test_a_centred_network_starts_its_companions_where_it_starts() -> None:
    network = gd.init_network(jax.random.key(1), D, (9,), C, **OPTIONS)
    system = gd.make_system(network, TASK, centred=True)
    result = gd.simulate(system, gd.GradientDescent(ETA), 2, gd.Record([*BOTH, "loss"]))
    for name in ("linear", "limit"):
        np.testing.assert_array_equal(result[f"{name}_loss"][0], result["loss"][0])
        assert result[f"{name}_error"][0] == 0.0


def test_a_run_without_residual_or_kernel_has_no_distance() -> None:
    """Both norms to divide by are 0."""
    network = gd.init_network(jax.random.key(1), D, (9,), C, **OPTIONS, output_scale=0.0)
    system = gd.make_system(network, gd.make_task(TASK.inputs, np.zeros((N, C))))
    result = gd.simulate(system, gd.GradientDescent(ETA), 2, gd.Record(BOTH))
    for found in result.records.values():
        np.testing.assert_array_equal(found, 0.0)


def test_wider_networks_stay_closer() -> None:
    """Medians over 8 seeds; found 0.048, 0.025, 0.014 and 0.057, 0.030, 0.009."""

    def build(key, width):
        network = gd.init_network(key, D, (width,), 1, parametrization="ntk")
        task = gd.gaussian(n_samples=N, n_inputs=D, seed=2)
        system = gd.make_system(network, task, centred=True)
        return system, gd.GradientDescent(gd.Relative(0.5))

    keys, ends = jax.random.split(jax.random.key(3), 8), []
    for width in (32, 128, 512):
        record = gd.Record(BOTH, at=[0, 30])
        many = gd.simulate_many(lambda k, w=width: build(k, w), keys, 30, record)
        ends.append([np.median(many[f"{name}_error"][:, -1]) for name in ("linear", "limit")])
    for wide, narrow in pairwise(reversed(ends)):
        assert wide[0] < 0.75 * narrow[0]
        assert wide[1] < 0.75 * narrow[1]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    "scheme", [gd.Optax("adam", 0.01), gd.GradientDescent(0.1, weight_decay=0.1)]
)
def test_schemes_that_no_kernel_decides_are_refused(name: str, scheme) -> None:
    message = (
        rf"^Argument `scheme` must be linear in the gradient and .* .diagnostic `{name}`., but"
    )
    with pytest.raises(InputError, match=message) as told:
        gd.simulate(_system("weights"), scheme, 3, gd.Record([name]))
    assert "\n" not in str(told.value)


def test_networks_of_unknown_law_are_refused() -> None:
    network = gd.pad_network(gd.init_network(jax.random.key(0), D, (4,), C), (6,))
    system = gd.make_system(network, TASK)
    with pytest.raises(InputError, match=r"^The initial law of layer 1 is not known"):
        gd.simulate(system, gd.GradientDescent(0.1), 3, gd.Record(["infinite_width"]))
    gd.simulate(system, gd.GradientDescent(0.1), 3, gd.Record(["linearised"]))


class Quartic(AbstractLoss):
    """A loss whose residual is not affine in the outputs."""

    reduction: str = "sum"

    def value(self, outputs, targets):
        return 0.25 * jnp.sum((outputs - targets) ** 4)

    def residual(self, outputs, targets):
        return (outputs - targets) ** 3


def test_other_losses_are_refused() -> None:
    system = dataclasses.replace(_system(), loss=Quartic())
    with pytest.raises(InputError, match=r"^Argument `loss` must be squared"):
        gd.simulate(system, gd.GradientDescent(0.01), 3, gd.Record(["linearised"]))


CONFIG = """
task: {kind: gaussian, n_samples: 5, n_inputs: 6}
network: {width: 8, depth: 2, parametrization: ntk, readout: trained}
scheme: {kind: gradient_descent, step_size: {relative: 0.5}, n_steps: 6}
record: {every: 3, of: [infinite_width, linearised]}
sweep: {seed: {count: 2}}
"""


def test_from_a_configuration(tmp_path) -> None:
    run_sweep(parse_config(CONFIG), tmp_path / "run")
    (node,) = open(tmp_path / "run").children.values()
    assert node["limit_loss"].dims == ("run", "step")
    assert node["layer_limit_distance"].dims == ("run", "layer", "step")
    assert np.all(np.isfinite(node["linear_error"]))
    adam = CONFIG.replace(
        "kind: gradient_descent, step_size: {relative: 0.5}",
        "kind: optax, optimizer: adam, step_size: 0.1",
    )
    with pytest.raises(InputError, match="must be linear in the gradient"):
        make_plan(parse_config(adam))
