"""From configurations to tasks, systems, schemes and records."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gramdyn.data.registry import TASKS
from gramdyn.data.task import Task
from gramdyn.diagnostics.record import Record
from gramdyn.diagnostics.registry import make_diagnostic
from gramdyn.dynamics.registry import SCHEMES
from gramdyn.dynamics.schemes import AbstractScheme, Relative
from gramdyn.models.activations import make_activation
from gramdyn.models.init import init_network
from gramdyn.models.network import Network
from gramdyn.sweep.config import Config, RecordConfig, RelativeStep, Strict, float_keys
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.losses import SquaredLoss
from gramdyn.systems.network import make_system

# Keys of a network's configuration that are numbers in the compiled program, not part of it.
NETWORK_NUMBERS = ("weight_scale", "output_scale")


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


def build_network(config: Config, key: Any, task: Task, numbers: dict[str, Any]) -> Network:
    """The network of a job at t = 0, with the job's numbers in place of the configuration's."""
    network = config.network
    return init_network(
        key,
        task.n_inputs,
        network.layer_widths,
        task.n_outputs,
        activation=make_activation(network.activation, network.slope),
        parametrization=network.parametrization,
        train_readout=network.readout == "trained",
        bias=network.bias,
        weight_scale=numbers.get("network.weight_scale", network.weight_scale),
        output_scale=numbers.get("network.output_scale", network.output_scale),
        dtype=task.inputs.dtype.type,
    )


def build_scheme(config: Strict, numbers: dict[str, Any]) -> AbstractScheme:
    """The scheme of a job, with the job's numbers in place of the configuration's."""
    options = dict(config)
    kind, _ = options.pop("kind"), options.pop("n_steps")
    for key in options:
        relative = isinstance(options[key], RelativeStep)
        number = numbers.get(f"scheme.{key}", options[key].relative if relative else options[key])
        options[key] = Relative(number) if relative else number
    return SCHEMES[kind](**options)


def numbers_of(config: Config) -> dict[str, float]:
    """The numbers of a job that are arrays in the compiled program, by dotted key."""
    found = {f"network.{key}": getattr(config.network, key) for key in NETWORK_NUMBERS}
    for key in float_keys(config.scheme):
        value = getattr(config.scheme, key)
        if value is not None:
            value = value.relative if isinstance(value, RelativeStep) else value
            found[f"scheme.{key}"] = float(value)
    return found


class Recipe:
    """A configuration as an opaque constant: compared by identity, so that it may be static."""

    def __init__(self, config: Config):
        self.config = config


class GroupBuild(eqx.Module):
    """From one run's parameters to its system and scheme, for all runs of a group.

    Attributes:
        inputs: Inputs of each distinct task of the group, shape (tasks, n, d).
        targets: Targets of each, shape (tasks, n, C).
        recipe: Configuration of the group, whose numbers each run replaces.
    """

    inputs: Array | np.ndarray
    targets: Array | np.ndarray
    recipe: Recipe = eqx.field(static=True)

    def __call__(self, params: dict[str, Any]) -> tuple[AbstractSystem, AbstractScheme]:
        """System and scheme of one run."""
        config, numbers = self.recipe.config, params["numbers"]
        one = self.inputs.shape[0] == 1
        index = 0 if one else params["task"]
        task = Task(jnp.asarray(self.inputs)[index], jnp.asarray(self.targets)[index])
        network = build_network(config, jax.random.key(params["seed"]), task, numbers)
        scheme = build_scheme(config.scheme, numbers)
        exact = config.coordinates != "auto" or scheme.linear
        system = make_system(
            network,
            task,
            loss=SquaredLoss(config.loss.reduction),
            # Gram coordinates are not for every scheme; "auto" takes those that are right.
            coordinates=config.coordinates if exact else "weights",
            centred=config.network.centred,
        )
        return system, scheme


def group_params(seeds: list[int], tasks: list[int], numbers: list[dict[str, float]]) -> Any:
    """Parameters of a group's runs, stacked along the run axis, as numpy arrays in float64."""
    return {
        "seed": np.asarray(seeds, np.int32),
        "task": np.asarray(tasks, np.int32),
        "numbers": {key: np.asarray([n[key] for n in numbers], np.float64) for key in numbers[0]},
    }
