"""Every diagnostic of the registry against a second way, along a short run."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.linear_system import decay
from support.reference import autodiff_kernels, numpy_descent, plain, random_network

from gramdyn._errors import InputError
from gramdyn.data import HeldOut, gaussian
from gramdyn.diagnostics import (
    DIAGNOSTICS,
    AbstractDiagnostic,
    Instant,
    Record,
    diagnostic,
    make_diagnostic,
)
from gramdyn.dynamics import GradientDescent, simulate
from gramdyn.systems import NetworkFields, make_system

N, D, C, WIDTHS, ETA, EVERY, N_STEPS = 6, 5, 2, (9, 7), 0.04, 6, 30
ALL = sorted(DIAGNOSTICS)
# Those that read another system's fields have tests of their own.
OF_NETWORKS = [name for name in ALL if issubclass(NetworkFields, make_diagnostic(name).needs)]
# Those that read the first layer's weights.
OF_WEIGHTS = (
    *("feature_ansatz", "gram_cumulative", "gram_step", "gram_virtual", "learning_equation"),
    *("lipschitz", "virtual_cloud"),
)
# That which reads square hidden layers has tests of its own.
OF_SQUARE = ("conditioning",)
# Those that read samples which are held out.
OF_HELD_OUT = ("heldout_accuracy", "heldout_loss", "noisy_accuracy")


def _network():
    return random_network(jax.random.key(3), D, WIDTHS, C, bias=True, train_readout=True)


TASK = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=3)
HELD_OUT = HeldOut(TASK.inputs[:4], TASK.targets[:4])


@pytest.fixture(scope="module")
def run():
    """One run with everything recorded; chatter counts a pair from its first flip on."""
    left_out = ("chatter", "top_eigenvalues", *OF_WEIGHTS, *OF_HELD_OUT, *OF_SQUARE)
    named = [name for name in OF_NETWORKS if name not in left_out]
    others = [make_diagnostic("chatter", at_least=1), make_diagnostic("top_eigenvalues", count=3)]
    record = Record([*named, *others], every=EVERY)
    return simulate(make_system(_network(), TASK), GradientDescent(ETA), N_STEPS, record), record


@pytest.fixture(scope="module")
def history():
    """The same run by hand: residuals, preactivations and autodiff kernels at saved steps."""
    network, scales, slope = plain(_network(), "relu")
    x, y = np.asarray(TASK.inputs), np.asarray(TASK.targets)
    kernels_of = jax.jit(lambda p: autodiff_kernels(p, scales, slope, x))
    found = {"kernels": []}
    for step in range(0, N_STEPS + 1, EVERY):
        end = numpy_descent((network, scales, slope), x, y, step, ETA, trained=[True] * 3)
        found["kernels"].append([np.asarray(k) for k in kernels_of(end["params"])])
        found["last"] = end
    return found | {"y": y}


def _close(found, wanted) -> None:
    wanted = np.asarray(wanted)
    # thirty steps of rounding
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-11 * np.abs(wanted).max())


def _matrices(history) -> np.ndarray:
    """(T, 1 + layers, nC, nC): the sum first."""
    kernels = np.array(history["kernels"]).reshape(len(history["kernels"]), 3, N * C, N * C)
    return np.concatenate([kernels.sum(axis=1, keepdims=True), kernels], axis=1)


def test_loss_residual_outputs(run, history) -> None:
    result, _ = run
    residual = history["last"]["residual"][::EVERY]
    _close(result["residual"], residual)
    _close(result["outputs"], residual + history["y"])
    _close(result["loss"], 0.5 * np.sum(residual**2, axis=(1, 2)))


def test_kernels(run, history) -> None:
    result, _ = run
    _close(result["layer_kernels"], history["kernels"])
    _close(result["tangent_kernel"], np.sum(history["kernels"], axis=1))


def test_conj_grams_divide_the_layer_kernels(run, history) -> None:
    """K^l = G^{l-1} * Q^l, so Q^l is the autodiff kernel over the Gram of the layer's inputs."""
    result, _ = run
    for k, kernels in enumerate(history["kernels"]):
        pres = [pre[k * EVERY] for pre in history["last"]["pre"]]
        acts = [np.asarray(TASK.inputs), np.maximum(pres[0], 0.0)]
        for layer in range(2):
            gram = acts[layer] @ acts[layer].T + 1.0  # with bias
            _close(result["conj_grams"][k, layer] * gram[:, None, :, None], kernels[layer])


def test_coactivation(run, history) -> None:
    result, _ = run
    for layer, pre in enumerate(history["last"]["pre"]):
        for k, one in enumerate(pre[::EVERY]):
            active = (one > 0).astype(float)
            _close(result["coactivation"][k, layer], active @ active.T / WIDTHS[layer])


def test_alignment(run, history) -> None:
    result, _ = run
    y = history["y"].ravel()
    wanted = np.array(
        [[y @ m @ y / (np.linalg.norm(m) * (y @ y)) for m in step] for step in _matrices(history)]
    )
    _close(result["alignment"], wanted[:, 0])
    _close(result["layer_alignment"], wanted[:, 1:])


def test_eigenvalues(run, history) -> None:
    result, _ = run
    wanted = np.linalg.eigvalsh(_matrices(history))[..., ::-1]
    # 12 rows: top_eigenvalues takes the dense way too; its iteration has tests of its own
    for name, cut in (("spectrum", slice(None)), ("top_eigenvalues", slice(3))):
        size = wanted.max()
        np.testing.assert_allclose(result[name], wanted[:, 0, cut], rtol=0, atol=1e-11 * size)
        np.testing.assert_allclose(
            result[f"layer_{name}"], wanted[:, 1:, cut], rtol=0, atol=1e-11 * size
        )


def test_kernel_movement(run, history) -> None:
    result, _ = run
    matrices = _matrices(history)
    wanted = np.linalg.norm(matrices - matrices[:1], axis=(2, 3)) / np.linalg.norm(
        matrices[:1], axis=(2, 3)
    )
    _close(result["kernel_movement"], wanted[:, 0])
    _close(result["layer_kernel_movement"], wanted[:, 1:])
    assert wanted[-1, 0] > 1e-2


def test_flips_and_chatter(run, history) -> None:
    result, _ = run
    flips = np.zeros((N_STEPS // EVERY + 1, 2), int)
    share = np.zeros((N_STEPS // EVERY + 1, 2))
    for layer, pre in enumerate(history["last"]["pre"]):
        changes = (pre[1:] > 0) != (pre[:-1] > 0)
        for k, (a, b) in enumerate(pairwise(range(0, N_STEPS + 1, EVERY))):
            flips[k + 1, layer] = changes[a:b].sum()
            share[k + 1, layer] = np.mean(changes[a:b].sum(axis=0) >= 1)
    np.testing.assert_array_equal(result["flips"], flips)
    np.testing.assert_allclose(result["chatter"], share, rtol=1e-14)
    assert flips.sum() > 0


def test_chatter_counts_pairs_that_flip_often() -> None:
    """A step far above 2 / lambda_max makes units jump to and fro."""
    network = random_network(jax.random.key(3), D, (12,), activation="leaky_relu")
    task = gaussian(n_samples=N, n_inputs=D, seed=3)
    scheme = GradientDescent(0.6)
    record = Record(["flips", make_diagnostic("chatter", at_least=2)], every=10)
    result = simulate(make_system(network, task), scheme, 20, record)
    with np.errstate(over="ignore"):
        pre = numpy_descent(
            plain(network, "leaky_relu"), np.asarray(task.inputs), np.asarray(task.targets), 20, 0.6
        )["pre"][0]
    changes = (pre[1:] > 0) != (pre[:-1] > 0)
    wanted = [0.0] + [np.mean(changes[a : a + 10].sum(axis=0) >= 2) for a in (0, 10)]
    np.testing.assert_allclose(result["chatter"][:, 0], wanted, rtol=1e-14)
    assert 0 < wanted[1] < 1


def test_linear_networks_never_flip() -> None:
    network = random_network(jax.random.key(3), D, WIDTHS, C, activation="linear")
    record = Record(["flips", "chatter", "coactivation"], every=5)
    result = simulate(make_system(network, TASK), GradientDescent(0.05), 10, record)
    assert not np.any(result["flips"])
    assert not np.any(result["chatter"])
    np.testing.assert_array_equal(result["coactivation"], 1.0)


# What every diagnostic owes.


@pytest.mark.parametrize("name", [name for name in OF_NETWORKS if name not in OF_SQUARE])
@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_dims_name_every_axis(name: str, coordinates: str) -> None:
    """Each array has the axes it says, of the sizes the words stand for."""
    sizes = {
        "sample": N,
        "sample_2": N,
        "output": C,
        "input": D,
        "output_2": C,
        "layer": 3,
        "hidden": 2,
        "hidden_2": 2,
        "rank": N * C,
        "top": 1,
        "operator_rank": 1,
        "closure": 3,
        "noise": 2,
    }
    record = Record([name])
    coordinates = "weights" if name in OF_WEIGHTS + OF_HELD_OUT else coordinates
    task = TASK if name not in OF_HELD_OUT else replace(TASK, held_out=HELD_OUT)
    system = make_system(_network(), task, coordinates=coordinates)

    def look():
        fields = system.fields(system.initial_state())
        return record.observe(record.start(fields, GradientDescent(0.1)), fields)[0]

    found = jax.eval_shape(look)
    assert set(found) == set(record.dims())
    for key, dims in record.dims().items():
        assert found[key].shape == tuple(sizes[axis] for axis in dims)


@pytest.mark.parametrize("name", ALL)
def test_names_and_errors(name: str) -> None:
    made = make_diagnostic(name)
    assert isinstance(made, AbstractDiagnostic)
    assert made.name == name
    assert made.needs is not None
    assert made.chatters in (True, False)
    with pytest.raises(InputError, match=f"Diagnostic `{name}` does not take .*no_such_option"):
        make_diagnostic(name, no_such_option=1)
    with pytest.raises(InputError, match=r"Unknown diagnostic `"):
        make_diagnostic(name + "x")


@pytest.mark.parametrize("name", [name for name in ALL if make_diagnostic(name).chatters])
def test_those_that_chatter_have_a_running_average(name: str) -> None:
    record = Record([name], average=3)
    dims = record.dims()
    own = make_diagnostic(name).dims()
    assert dims == own | {f"{key}_average": axes for key, axes in own.items()}
    system = make_system(_network(), TASK)
    result = simulate(system, GradientDescent(0.01), 3, record)
    for key in own:
        assert result[f"{key}_average"].shape == result[key].shape
        # at t = 0 it is the value itself
        np.testing.assert_array_equal(result[f"{key}_average"][0], result[key][0])


def test_unknown_names_say_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Unknown diagnostic `los`; did you mean `loss`\?"):
        make_diagnostic("los")


@pytest.mark.parametrize(
    ("name", "option"), [("top_eigenvalues", "count"), ("chatter", "at_least")]
)
def test_options_are_checked(name: str, option: str) -> None:
    with pytest.raises(InputError, match=rf"Argument `{option}` must be a whole number"):
        make_diagnostic(name, **{option: 0})


def test_more_eigenvalues_than_there_are_are_refused() -> None:
    record = Record([make_diagnostic("top_eigenvalues", count=N * C + 1)])
    with pytest.raises(InputError, match=r"must be at most the matrix size 12"):
        simulate(make_system(_network(), TASK), GradientDescent(0.01), 1, record)


# Diagnostics of a user.


def mean_square(fields):
    """Mean square of the residual."""
    return jnp.mean(fields.residual**2)


def two_things(fields):
    """Several arrays by name."""
    return {"least": jnp.min(fields.outputs), "most": jnp.max(fields.outputs)}


def _recorded(what) -> dict:
    system = make_system(_network(), TASK)
    record = Record([what, "residual", "outputs"], every=2)
    return simulate(system, GradientDescent(0.01), 5, record).records


def test_a_function_from_python() -> None:
    found = _recorded(mean_square)
    wanted = np.mean(np.asarray(found["residual"]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found["mean_square"], wanted, rtol=1e-13)
    found = _recorded(two_things)
    np.testing.assert_array_equal(found["most"], np.max(found["outputs"], axis=(1, 2)))
    np.testing.assert_array_equal(found["least"], np.min(found["outputs"], axis=(1, 2)))
    assert "function" in _recorded(lambda fields: fields.loss)


def test_a_function_by_module_and_name() -> None:
    found = _recorded("test_diagnostics:mean_square")
    wanted = np.mean(np.asarray(found["residual"]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found["mean_square"], wanted, rtol=1e-13)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:loss", "cannot be imported"),
        ("test_diagnostics:no_such_name", "cannot be imported"),
        ("test_diagnostics:N_STEPS", "must be a function of the fields"),
    ],
)
def test_paths_that_lead_nowhere(path: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"Diagnostic `{path}` {message}"):
        Record([path])


def test_a_registered_function_is_known_by_name() -> None:
    @diagnostic({"biggest_output": ("output",)})
    def biggest_output(fields: NetworkFields):
        return jnp.max(fields.outputs, axis=0)

    try:
        assert Record(["biggest_output"]).dims() == {"biggest_output": ("output",)}
        found = _recorded("biggest_output")
        np.testing.assert_array_equal(found["biggest_output"], np.max(found["outputs"], axis=1))
    finally:
        del DIAGNOSTICS["biggest_output"]


def test_a_user_function_reads_a_user_system() -> None:
    result = simulate(decay(), GradientDescent(0.1), 4, Record([lambda fields: fields.x]))
    assert result["function"].shape == (5, 4)


def test_the_loss_of_any_system_is_recorded() -> None:
    """`Record()` asks for the loss, which every system shows."""
    system = decay()
    result = simulate(system, GradientDescent(0.1), 4, Record())
    x, matrix = np.asarray(system.start), np.asarray(system.matrix)
    np.testing.assert_allclose(result["loss"][0], 0.5 * x @ matrix @ x, rtol=1e-14)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("loss", "loss_rise")])
def test_fields_of_another_system_are_refused(name: str) -> None:
    reads = make_diagnostic(name).needs.__name__
    message = rf"Diagnostic `{name}` reads {reads}, but this system shows DecayFields"
    with pytest.raises(InputError, match=message):
        simulate(decay(), GradientDescent(0.1), 2, Record([name]))


def test_names_are_not_repeated_and_not_missing() -> None:
    with pytest.raises(InputError, match=r"Argument `of` must name each diagnostic once"):
        Record(["loss", "residual", "loss"])
    with pytest.raises(InputError, match=r"Argument `of` must name each diagnostic once"):
        Record([lambda fields: fields.loss, lambda fields: fields.residual])
    with pytest.raises(InputError, match=r"Argument `of` must name at least one diagnostic"):
        Record([])


def test_arrays_of_one_name_are_refused() -> None:
    """Two diagnostics that both give `layer_alignment`: one would hide the other."""
    record = Record(["alignment", lambda fields: {"layer_alignment": fields.loss}])
    with pytest.raises(InputError, match=r"layer_alignment"):
        simulate(make_system(_network(), TASK), GradientDescent(0.01), 1, record)


def test_instants_number_their_axes_by_default() -> None:
    assert Instant("x", mean_square).dims() == {}
