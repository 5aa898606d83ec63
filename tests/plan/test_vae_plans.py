"""Autoencoders from a configuration: one program for all betas, seeds of their own, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.plan import make_plan, parse_config
from gramdyn.sweep import run_sweep
from gramdyn.systems.batches import draw_orders

CONFIG = """
task: {kind: digits, classes: [0, 1, 2], n_samples: 20, centre: false, norm: 3.0}
network: {kind: vae, widths: [7, 6], latent: 3, activation: gelu, parametrization: uniform,
  bias: true, readout_bias: true, readout: trained, beta: 0.5}
scheme: {kind: optax, optimizer: adam, step_size: 0.01, batch_size: 4, n_steps: 6}
precision: float64
record: {every: 3, of: [loss, elbo_terms, latent_linearity, interpolation]}
"""


def system_of(group, run):
    return group.build(jax.tree.map(lambda leaf: jnp.asarray(leaf[run]), group.params))[0]


def test_numbers_share_a_program_and_sizes_do_not():
    axes = ["beta: [0.1, 4.0]", "weight_scale: [1.0, 2.0]", "latent: [2, 3]", "bias: [true, false]"]
    axes += ["widths: [[7, 6], [7, 5]]", "activation: [gelu, tanh]", "readout_bias: [true, false]"]
    for axis, groups in zip(axes, (1, 1, 2, 2, 2, 2, 2), strict=True):
        key, values = axis.split(": ", 1)
        plan = make_plan(parse_config(CONFIG, changes=[f"sweep.network.{key}={values}"]))
        assert len(plan.groups) == groups, axis
        assert plan.n_runs == 2
        assert {group.coordinates for group in plan.groups} == {"weights"}
    config = parse_config(
        CONFIG, changes=["sweep.network.widths=[[7, 6], [7, 5]]", "runtime.padding=always"]
    )
    with pytest.raises(gd.InputError, match=r"runtime\.padding` must be auto or never of an autoe"):
        make_plan(config)


def test_widths_stay_apart_under_any_scheme_and_record():
    changes = ["sweep.network.widths=[[7, 6], [7, 5]]", "record.of=[loss]"]
    changes += ["scheme={kind: gradient_descent, step_size: 0.1, n_steps: 2}"]
    assert len(make_plan(parse_config(CONFIG, changes=changes)).groups) == 2


def test_runs_of_a_sweep_are_those_of_their_systems(tmp_path):
    changes = ["sweep.seed={count: 2}", "sweep.network.beta=[0.5, 3.0]", "sweep.task.seed=[0, 1]"]
    config = parse_config(CONFIG, changes=changes)
    (group,) = make_plan(config).groups
    run_sweep(config, tmp_path / "run")
    (node,) = gd.open(tmp_path / "run").children.values()
    starts = []
    for run, job in enumerate(group.jobs):
        system = system_of(group, run)
        assert float(system.beta) == job.place["network.beta"]
        task = gd.digits(
            classes=(0, 1, 2), n_samples=20, seed=job.place["task.seed"], centre=False, norm=3.0
        )
        np.testing.assert_allclose(system.inputs, task.inputs, rtol=1e-15)
        for kind, rows in enumerate(np.asarray(system.members)):
            assert set(np.asarray(task.labels)[rows]) == {kind}
        found = gd.simulate(system, gd.Optax("adam", 0.01), 6, gd.Record(["loss"], every=3))
        np.testing.assert_allclose(node["loss"][run], found["loss"], rtol=1e-12)
        starts.append((job.seed, system))
    weights = {seed: np.asarray(one.start.encoder.layers[0].weight) for seed, one in starts}
    assert not np.array_equal(weights[0], weights[1])
    for seed, one in starts:
        key = jax.random.key(seed, impl="threefry2x32")
        draws = [jax.random.fold_in(key, stream) for stream in (1, 2)]
        np.testing.assert_array_equal(one.order, draw_orders(draws[0], 20, 4, 6))
        assert one.noise == draws[1]
        # What both networks draw first, over the bounds of their laws.
        first = [net.layers[0].weight[0] for net in (one.start.encoder, one.start.decoder)]
        assert first[0][0] * len(first[0]) ** 0.5 != first[1][0] * len(first[1]) ** 0.5


def test_beta_is_one_where_it_is_left_out():
    (group,) = make_plan(parse_config(CONFIG.replace(", beta: 0.5", ""))).groups
    assert float(system_of(group, 0).beta) == 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("network.latent=null", r"network\.latent: must be given with kind vae"),
        ("network.latent=0", r"network\.latent"),
        ("network.beta=-1.0", r"network\.beta"),
        ("network.widths=null", "give either `widths`, or `width` and `depth`"),
        ("network={kind: vae, width: 4, depth: 0, latent: 2, readout: trained}", "at least 1"),
        ("network.readout=fixed", r"network\.readout: must be trained with kind vae, but is fixed"),
        ("network.centred=true", r"network\.centred: must be False with kind vae"),
        ("network.init=balanced", r"network\.init: must be gaussian with kind vae"),
        ("network.kind=dense", "`latent` belongs to kind vae"),
        ("loss={kind: cross_entropy}", r"loss\.kind: must be left out with kind vae"),
        ("loss={reduction: mean}", r"loss\.reduction: must be left out with kind vae"),
        ("coordinates=gram", r"coordinates: must be weights with kind vae, but is gram"),
        ("coordinates=moments", r"coordinates: must be weights with kind vae, but is moments"),
        (
            "scheme={kind: gradient_flow, step_size: 0.1, n_steps: 2}",
            r"scheme\.kind: must not be gradient_flow with kind vae",
        ),
        (
            "scheme.step_size={relative: 0.5}",
            r"scheme\.step_size: must be a number with kind vae, which has no tangent kernel",
        ),
        ("scheme.batch_size=21", "`size` must be 1 to the number of samples 20"),
        ("task.norm=30.0", "`inputs` must lie in 0 to 1 for an autoencoder"),
        ("record.of=[outputs]", "reads NetworkFields, but this system shows VaeFields"),
        (
            "task={kind: gaussian, n_samples: 4, n_inputs: 3}",
            "`inputs` must lie in 0 to 1 for an autoencoder",
        ),
        (
            "task={kind: planted_map, n_inputs: 4, singular_values: [1.0]}",
            r"task\.kind: must be one with samples for kind vae",
        ),
    ],
)
def test_refusals_are_one_line(change, told):
    changes = [change]
    if change.startswith(("coordinates", "task={kind: planted")):
        changes.append("scheme.batch_size=null")  # mini-batches have a line of their own
    with pytest.raises(gd.InputError, match=told) as caught:
        make_plan(parse_config(CONFIG, changes=changes))
    assert "\n" not in str(caught.value)


def test_diagnostics_of_an_autoencoder_need_one():
    changes = ["network={width: 4, depth: 1, readout: trained}", "record.of=[elbo_terms]"]
    with pytest.raises(gd.InputError, match="reads VaeFields, but this system shows BatchFields"):
        make_plan(parse_config(CONFIG, changes=changes))
