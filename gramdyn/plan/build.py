"""From configurations to tasks, systems, schemes and records."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gramdyn._checks import check
from gramdyn.data.images import Images
from gramdyn.data.moments import Moments
from gramdyn.data.planted_map import Population
from gramdyn.data.registry import TASKS
from gramdyn.data.task import Task
from gramdyn.diagnostics.record import Record
from gramdyn.diagnostics.registry import make_diagnostic
from gramdyn.dynamics.registry import SCHEMES
from gramdyn.dynamics.schemes import AbstractScheme, Relative
from gramdyn.models.activations import make_activation
from gramdyn.models.autoencoder import init_autoencoder
from gramdyn.models.balanced import along_modes, balance
from gramdyn.models.convolution import convolutional_network
from gramdyn.models.correction import make_correction
from gramdyn.models.enriched_network import enriched_network
from gramdyn.models.init import Padded, init_network, layer_stds
from gramdyn.models.network import Network
from gramdyn.models.pathway import make_pathway
from gramdyn.models.thin import thin_network, widen
from gramdyn.plan.config import Config
from gramdyn.plan.kinds import RelativeStep, Strict, float_keys
from gramdyn.plan.parts import ENRICHED, NetworkConfig, RecordConfig
from gramdyn.plan.views import VaeStart, view_of
from gramdyn.systems.base import AbstractSystem

# Keys of a network's configuration that are numbers in the compiled program, not part of it.
NETWORK_NUMBERS = ("weight_scale", "output_scale", "input_scale", "beta", "alpha")


def build_task(config: Config) -> Task:
    """The task of a job, on the host, in float64."""
    options: dict[str, Any] = dict(config.task)
    return TASKS[options.pop("kind")](**options)


def build_record(config: RecordConfig) -> Record:
    """The record of a job."""
    of = [_diagnostic(entry) for entry in config.of]
    return Record(of, every=config.every, at=config.at, average=config.average)


def _diagnostic(entry: str | dict[str, Any]) -> Any:
    if isinstance(entry, str):
        return make_diagnostic(entry)
    options = {key: value for key, value in entry.items() if key != "name"}
    return make_diagnostic(entry["name"], **options)


def build_network(
    config: Config,
    key: Any,
    data: Task | Moments | Population,
    numbers: dict[str, Any],
    widths: tuple[int, ...],
    padded: Padded | None,
) -> Network:
    """The network of a job at t = 0, with the job's numbers in place of the configuration's."""
    network = config.network
    scale = numbers.get("network.weight_scale", network.weight_scale)
    if config.starts_thin:
        return _build_thin(network, key, data, scale)
    assert not isinstance(data, Population)
    found = init_network(
        key,
        data.n_inputs,
        widths,
        data.n_outputs,
        **_init_options(network, data, numbers),
        padded=padded,
        residual=network.kind == "residual",
    )
    if network.init == "gaussian":
        return found
    assert isinstance(data, Moments)
    n_modes = None if padded is None else jnp.min(jnp.asarray(padded.widths))
    if network.init == "balanced":
        return balance(found, n_modes)
    left, right = jnp.asarray(data.left), jnp.asarray(data.right)
    return along_modes(found, left, scale, right, n_modes)


def _init_options(network: NetworkConfig, data: Any, numbers: dict[str, Any]) -> dict[str, Any]:
    """Options of `init_network` that networks of all kinds have."""
    scales = ("weight_scale", "output_scale", "input_scale")
    return {
        "activation": make_activation(network.activation, network.slope),
        "parametrization": network.parametrization,
        "train_readout": network.readout == "trained",
        "bias": network.bias,
        "readout_bias": network.readout_bias,
        "dtype": jax.tree.leaves(data)[0].dtype.type,
        **{key: numbers.get(f"network.{key}", getattr(network, key)) for key in scales},
    }


def build_autoencoder(
    config: Config,
    key: Any,
    data: Images,
    numbers: dict[str, Any],
    widths: tuple[int, ...],
    padded: None,
) -> VaeStart:
    """The autoencoder of a job at t = 0, with the job's numbers; never filled up."""
    network = config.network
    assert network.latent is not None
    keys = jax.random.fold_in(key, _ENCODER), jax.random.fold_in(key, _DECODER)
    options = _init_options(network, data, numbers)
    found = init_autoencoder(keys, data.n_inputs, widths, network.latent, **options)
    beta = numbers.get("network.beta", 1.0 if network.beta is None else network.beta)
    return VaeStart(found, beta, jax.random.fold_in(key, _NOISE))


def build_convolutional(
    config: Config,
    key: Any,
    data: Task,
    numbers: dict[str, Any],
    widths: tuple[int, ...],
    padded: None,
) -> Network:
    """The convolutional network of a job at t = 0, its inputs taken as square images.

    Raises:
        InputError: for a number of inputs that is no square.
    """
    network, side = config.network, math.isqrt(data.n_inputs)
    check(side**2 == data.n_inputs, "n_inputs", "be a square for convolutions", data.n_inputs)
    options = _init_options(network, data, numbers)
    del options["input_scale"]
    options |= {"side": network.side or 3, "stride": network.stride or 1}
    return convolutional_network(key, (side, side, 1), widths, data.n_outputs, **options)


def build_enriched(
    config: Config,
    key: Any,
    data: Task,
    numbers: dict[str, Any],
    widths: tuple[int, ...],
    padded: None,
) -> Network:
    """The network of structured layers of a job at t = 0, with the job's numbers."""
    network = config.network
    options = _init_options(network, data, numbers)
    for name in ("input_scale", "parametrization"):
        del options[name]
    for name in ENRICHED:
        part = getattr(network, name)
        if isinstance(part, Strict):
            own = {key: numbers.get(f"network.{name}.{key}", value) for key, value in part}
            options[name] = own
        elif part is not None:
            options[name] = numbers.get(f"network.{name}", part)
    if network.embedding_activation is not None:
        options["embedding_activation"] = make_activation(network.embedding_activation)
    return enriched_network(key, data.n_inputs, widths, data.n_outputs, **options)


def check_structure(network: NetworkConfig) -> None:
    """Check the options of structured layers as Python numbers; in a program they are arrays.

    Raises:
        InputError: for one out of its range.
    """
    width = network.layer_widths[0] if network.layer_widths else 1
    if network.pathway is not None:
        _try(make_pathway, network.pathway, width)
    if network.correction is not None:
        _try(make_correction, network.correction, width)


@cache
def _try(make: Callable[..., Any], part: Strict, width: int) -> None:
    """Make a square one without computing anything."""
    options = dict(part)
    kind = options.pop("kind")
    jax.eval_shape(
        lambda key: make(kind, width, width, key=key, dtype=None, **options), jax.random.key(0)
    )


# What builds networks of a kind of their own.
_BUILDERS: dict[str, Any] = {
    "convolutional": build_convolutional,
    "enriched": build_enriched,
    "vae": build_autoencoder,
}


def _build_thin(network: NetworkConfig, key: Any, data: Any, scale: Any) -> Network:
    """The network in thin coordinates, or the same one on all inputs of samples."""
    (width,) = network.layer_widths
    found = thin_network(
        key,
        data.n_inputs,
        width,
        data.n_outputs,
        law=network.init,
        sigma=scale,
        signs=network.signs,
        dtype=jax.tree.leaves(data)[0].dtype.type,
    )
    return found if isinstance(data, Population) else widen(found, data.n_inputs)


def build_scheme(config: Strict, numbers: dict[str, Any]) -> AbstractScheme:
    """The scheme of a job, with the job's numbers in place of the configuration's."""
    options = dict(config)
    kind = options.pop("kind")
    for key in ("n_steps", "batch_size"):
        options.pop(key)
    for key in options:
        relative = isinstance(options[key], RelativeStep)
        number = numbers.get(f"scheme.{key}", options[key].relative if relative else options[key])
        options[key] = Relative(number) if relative else number
    return SCHEMES[kind](**options)


def numbers_of(config: Config) -> dict[str, float]:
    """The numbers of a job that are arrays in the compiled program, by dotted key."""
    given = {f"network.{key}": getattr(config.network, key) for key in NETWORK_NUMBERS}
    parts = {"scheme": config.scheme}
    parts |= {f"network.{key}": getattr(config.network, key) for key in ("pathway", "correction")}
    for where, part in parts.items():
        if part is not None:
            given |= {f"{where}.{key}": getattr(part, key) for key in float_keys(part)}
    plain = {k: v.relative if isinstance(v, RelativeStep) else v for k, v in given.items()}
    return {k: float(v) for k, v in plain.items() if isinstance(v, int | float)}


# By name: a process may have chosen another, and a seed would mean another network there.
_GENERATOR = "threefry2x32"
# What is folded into a run's key for the orders of its samples; its weights have the key itself.
_ORDERS = 1
# And for the codes of an autoencoder and the weights of its two networks.
_NOISE, _ENCODER, _DECODER = 2, 3, 4


def n_steps_of(config: Config) -> int:
    """Steps of a run."""
    return int(config.scheme.n_steps)  # type: ignore[attr-defined]


class Recipe:
    """A configuration as an opaque constant: compared by identity, so that it may be static."""

    def __init__(self, config: Config):
        self.config = config


class GroupBuild(eqx.Module):
    """From one run's parameters to its system and scheme, for all runs of a group.

    Attributes:
        data: Arrays that the systems see of each distinct task of the group, stacked along a first
            axis.
        structure: What they are together: the tree of one `Task`, or of its
            `Moments` or `Population`.
        recipe: Configuration of the group, whose numbers each run replaces.
        widths: Width of each hidden layer of the program.
    """

    data: Sequence[Array | np.ndarray]
    structure: Any = eqx.field(static=True)
    recipe: Recipe = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, params: dict[str, Any]) -> tuple[AbstractSystem, AbstractScheme]:
        """System and scheme of one run."""
        config, numbers = self.recipe.config, params["numbers"]
        index = 0 if self.data[0].shape[0] == 1 else params["task"]
        leaves = [jnp.asarray(leaf)[index] for leaf in self.data]
        data = jax.tree.unflatten(self.structure, leaves)
        key, padded = jax.random.key(params["seed"], impl=_GENERATOR), params.get("padded")
        build = _BUILDERS.get(config.network.kind, build_network)
        network = build(config, key, data, numbers, self.widths, padded)
        scheme = build_scheme(config.scheme, numbers)
        system = view_of(config).system(config, network, data, scheme)
        if config.batch_size is not None:
            orders, steps = jax.random.fold_in(key, _ORDERS), n_steps_of(config)
            system = view_of(config).batched(system, orders, config.batch_size, steps)
        return system, scheme


def stack_data(config: Config, tasks: Sequence[Task], dtype: str) -> tuple[list[np.ndarray], Any]:
    """What the systems of a group see of its distinct tasks: arrays stacked, and their structure.

    Products over samples are made here once for all runs, in float64.
    """
    found = view_of(config).see(config, tasks)
    leaves = zip(*map(jax.tree.leaves, found), strict=True)
    return [np.stack(same).astype(dtype) for same in leaves], jax.tree.structure(found[0])


def group_params(
    jobs: Sequence[Any], tasks: list[int], n_inputs: int, widths: tuple[int, ...]
) -> dict[str, Any]:
    """Parameters of a group's runs, stacked along the run axis, as numpy arrays in float64.

    Args:
        jobs: The runs.
        tasks: Which of the group's tasks each has.
        n_inputs: Inputs d.
        widths: Widths of the program; sizes of the networks themselves are among the parameters
            where any is narrower.
    """
    numbers = [job.cell.numbers for job in jobs]
    found = {
        "seed": np.asarray([job.seed for job in jobs], np.int32),
        "task": np.asarray(tasks, np.int32),
        "numbers": {key: np.asarray([n[key] for n in numbers], np.float64) for key in numbers[0]},
    }
    if any(job.config.network.layer_widths != widths for job in jobs):
        found["padded"] = _sizes([job.config.network for job in jobs], n_inputs)
    return found


def _sizes(networks: Sequence[NetworkConfig], n_inputs: int) -> Padded:
    """Own widths and scales of the networks, run axis leading."""
    widths = [network.layer_widths for network in networks]
    stds = [
        layer_stds(
            (n_inputs, *own),
            make_activation(network.activation, network.slope),
            network.parametrization,
        )
        for network, own in zip(networks, widths, strict=True)
    ]
    return Padded(np.asarray(widths, np.int32), np.asarray(stds, np.float64))
