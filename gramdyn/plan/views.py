"""What systems see of their tasks, by coordinates: samples and their Gram, or moments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.task import Task
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.models.network import Network
from gramdyn.plan.config import Config
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.losses import SquaredLoss
from gramdyn.systems.make import make_moment_system, make_system


@dataclass(frozen=True)
class View:
    """One way to see a task.

    Attributes:
        see: What systems see of each of some tasks, on the host in float64, all alike in their
            arrays so that they stack.
        rows: Rows of the fields that a step moves through the layers; its cost is in proportion.
        system: The system of a network at t = 0 on what is seen of its task.
    """

    see: Callable[[Config, Sequence[Task]], list[Any]]
    rows: Callable[[Task], int]
    system: Callable[[Config, Network, Any, AbstractScheme], AbstractSystem]


def view_of(config: Config) -> View:
    """How the systems of a configuration see their tasks."""
    return _MOMENTS if config.coordinates == "moments" else _SAMPLES


def _samples(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """Inputs, targets and the Gram of the inputs."""
    return [Task(one.inputs, one.targets, input_gram=one.with_gram().input_gram) for one in tasks]


def _on_samples(
    config: Config, network: Network, data: Task, scheme: AbstractScheme
) -> AbstractSystem:
    exact = config.coordinates != "auto" or scheme.linear
    return make_system(
        network,
        data,
        loss=SquaredLoss(config.loss.reduction),
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


_SAMPLES = View(_samples, lambda task: task.n_samples, _on_samples)
_MOMENTS = View(_moments, lambda task: task.n_outputs, _by_moments)
