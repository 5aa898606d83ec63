"""What systems see of their tasks, by coordinates: samples, moments, or the population."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gramdyn._checks import check
from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.planted_map import Population, task_population
from gramdyn.data.task import Task
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.models.network import Network
from gramdyn.plan.config import Config
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.gram import choose_coordinates
from gramdyn.systems.losses import SquaredLoss, make_loss
from gramdyn.systems.make import make_moment_system, make_planted_system, make_system


@dataclass(frozen=True)
class View:
    """One way to see a task.

    Attributes:
        see: What systems see of each of some tasks, on the host in float64, all alike in their
            arrays so that they stack.
        rows: Rows of the fields that a step moves through the layers; its cost is in proportion.
        shape: What of a task's shape the compiled program depends on.
        system: The system of a network at t = 0 on what is seen of its task.
    """

    see: Callable[[Config, Sequence[Task]], list[Any]]
    rows: Callable[[Task], int]
    shape: Callable[[Task], tuple[int, ...]]
    system: Callable[[Config, Network, Any, AbstractScheme], AbstractSystem]


def view_of(config: Config) -> View:
    """How the systems of a configuration see their tasks."""
    if config.on_population:
        return _POPULATION
    return _MOMENTS if config.coordinates == "moments" else _SAMPLES


def _shape(task: Task) -> tuple[int, ...]:
    return task.n_samples, task.n_inputs, task.n_outputs, task.n_heldout


def _samples(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """Inputs and targets, the Gram of the inputs where it serves, a planted map where there is one.

    Raises:
        InputError: for a task without samples, or targets that the loss is not made for.
    """
    loss = make_loss(config.loss.kind, config.loss.reduction)
    for one in tasks:
        loss.check_targets(np.asarray(one.targets))
        demand = f"be above 0 in coordinates `{config.coordinates}`: give task.samples_per_input"
        check(one.n_samples > 0, "n_samples", demand, one.n_samples)
    bare = [replace(one, labels=None, name="arrays", notes=()) for one in tasks]
    return [one.with_gram() if _takes_gram(config, one) else one for one in bare]


def _takes_gram(config: Config, task: Task) -> bool:
    """Whether systems of this task may be in Gram coordinates."""
    if config.coordinates != "auto" or config.batch_size is not None or task.n_heldout:
        return config.coordinates == "gram"
    return choose_coordinates(task.n_samples, task.n_inputs) == "gram"


def _on_samples(
    config: Config, network: Network, data: Task, scheme: AbstractScheme
) -> AbstractSystem:
    exact = config.coordinates != "auto" or (scheme.linear and config.batch_size is None)
    return make_system(
        network,
        data,
        loss=make_loss(config.loss.kind, config.loss.reduction),
        # Gram coordinates are not for every scheme; "auto" takes those that are right.
        coordinates=config.coordinates if exact else "weights",
        centred=config.network.centred,
    )


def _moments(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """Moments, the identity spelt out where not all of them are white."""
    loss = SquaredLoss(config.loss.reduction)
    found = [task_moments(task, loss.scale(task.n_samples)) for task in tasks]
    white = all(one.input_moment is None for one in found)
    return found if white else [one.with_moment() for one in found]


def _by_moments(
    config: Config, network: Network, data: Moments, scheme: AbstractScheme
) -> AbstractSystem:
    return make_moment_system(network, data)


def _populations(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """The planted map and the number of inputs."""
    return [task_population(task) for task in tasks]


def _on_population(
    config: Config, network: Network, data: Population, scheme: AbstractScheme
) -> AbstractSystem:
    return make_planted_system(network, data)


_SAMPLES = View(_samples, lambda task: task.n_samples, _shape, _on_samples)
_MOMENTS = View(_moments, lambda task: task.n_outputs, _shape, _by_moments)
# The number of inputs is a number in the program: one serves them all.
_POPULATION = View(
    _populations, lambda task: task.n_outputs, lambda task: (task.n_outputs,), _on_population
)
