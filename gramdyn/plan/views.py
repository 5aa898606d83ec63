"""What systems see of their tasks: samples, moments, the population, or images alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gramdyn._checks import check
from gramdyn._types import Key, Scalar
from gramdyn.data.images import Images, class_members, task_images
from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.planted_map import Population, task_population
from gramdyn.data.task import Task
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.models.autoencoder import Autoencoder
from gramdyn.models.network import Network
from gramdyn.plan.config import Config
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.batches import in_batches
from gramdyn.systems.gram import choose_coordinates
from gramdyn.systems.losses import SquaredLoss, make_loss
from gramdyn.systems.make import make_moment_system, make_planted_system, make_system
from gramdyn.systems.vae import VaeSystem, make_vae_system


@dataclass(frozen=True)
class View:
    """One way to see a task.

    Attributes:
        see: What systems see of each of some tasks, on the host in float64, all alike in their
            arrays so that they stack.
        rows: Rows of the fields that a step moves through the layers; its cost is in proportion.
        shape: What of a task's shape the compiled program depends on.
        system: The system of a network at t = 0 on what is seen of its task.
        batched: The same trained on mini-batches: random key of the orders, size, steps.
        unpadded: Why its networks cannot be filled up to wider ones; "" where they can.
    """

    see: Callable[[Config, Sequence[Task]], list[Any]]
    rows: Callable[[Task], int]
    shape: Callable[[Task], tuple[int, ...]]
    system: Callable[[Config, Any, Any, AbstractScheme], AbstractSystem]
    batched: Callable[[Any, Key, int, int], AbstractSystem] = in_batches
    unpadded: str = ""


def view_of(config: Config) -> View:
    """How the systems of a configuration see their tasks."""
    if config.network.kind in _OF_KINDS:
        return _OF_KINDS[config.network.kind]
    if config.on_population:
        return _POPULATION
    return _MOMENTS if config.coordinates == "moments" else _SAMPLES


def _shape(task: Task) -> tuple[int, ...]:
    planted = int(task.planted_map is not None)
    return task.n_samples, task.n_inputs, task.n_outputs, task.n_heldout, planted


def _samples(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """Inputs and targets, the Gram of the inputs where it serves, a planted map where there is one.

    Raises:
        InputError: for a task without samples, or targets that the loss is not made for.
    """
    loss = make_loss(config.loss.kind, config.loss.reduction)
    _check_samples(config, tasks)
    for one in tasks:
        loss.check_targets(np.asarray(one.targets))
        if one.held_out is not None:
            loss.check_targets(np.asarray(one.held_out.targets))
    bare = [replace(one, labels=None, name="arrays", notes=()) for one in tasks]
    return [one.with_gram() if _takes_gram(config, one) else one for one in bare]


def _check_samples(config: Config, tasks: Sequence[Task]) -> None:
    """Refuse the population of a planted map where samples are seen."""
    demand = f"be above 0 in coordinates `{config.coordinates}`: give task.samples_per_input"
    for one in tasks:
        check(one.n_samples > 0, "n_samples", demand, one.n_samples)


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
    """Moments, the identity spelt out where not all of them are white.

    Raises:
        InputError: for a task without samples.
    """
    _check_samples(config, tasks)
    loss = SquaredLoss(config.loss.reduction)
    _check_none_held_out(tasks, "coordinates moments")
    found = [task_moments(task, loss.scale(task.n_samples)) for task in tasks]
    white = all(one.input_moment is None for one in found)
    return found if white else [one.with_moment() for one in found]


def _check_none_held_out(tasks: Sequence[Task], where: str) -> None:
    """Refuse samples held out where nothing would look at them."""
    for task in tasks:
        check(task.n_heldout == 0, "n_heldout", f"be 0 with {where}", task.n_heldout)


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


class VaeStart(NamedTuple):
    """An autoencoder at t = 0 and what its training takes beside the data.

    Attributes:
        network: The autoencoder.
        beta: Factor on the divergence.
        noise: Random key of the codes.
    """

    network: Autoencoder
    beta: Scalar
    noise: Key


def _images(config: Config, tasks: Sequence[Task]) -> list[Any]:
    """Pixels, and the samples of each class."""
    _check_none_held_out(tasks, "kind vae")
    return [task_images(task) for task in tasks]


def _image_shape(task: Task) -> tuple[int, ...]:
    classes = () if task.labels is None else class_members(np.asarray(task.labels)).shape
    return task.n_samples, task.n_inputs, *classes


def _on_images(
    config: Config, start: VaeStart, data: Images, scheme: AbstractScheme
) -> AbstractSystem:
    return make_vae_system(start.network, data, noise=start.noise, beta=start.beta)


# Views of networks of a kind of their own, whatever their coordinates.
_OF_KINDS = {
    "convolutional": replace(_SAMPLES, unpadded="of convolutions"),
    "enriched": replace(_SAMPLES, unpadded="of structured layers"),
    "vae": View(
        _images,
        lambda task: task.n_samples,
        _image_shape,
        _on_images,
        batched=VaeSystem.in_batches,
        unpadded="of an autoencoder",
    ),
}
