"""From a network and a task to the system that evolves, in the coordinates asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn._checks import check, check_known
from gramdyn._errors import InputError
from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.planted_map import Population
from gramdyn.data.task import Task
from gramdyn.models.layers import Dense, GramDense
from gramdyn.models.network import Network
from gramdyn.systems.gram import choose_coordinates, to_gram
from gramdyn.systems.losses import AbstractLoss, SquaredLoss
from gramdyn.systems.moments import MomentSystem
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.planted import PlantedSystem, learns_both_layers
from gramdyn.systems.planted_samples import SampledSystem

COORDINATES = ("auto", "weights", "gram", "moments", "thin")


def make_system(
    network: Network,
    task: Task,
    *,
    loss: AbstractLoss | None = None,
    coordinates: str = "auto",
    centred: bool = False,
) -> NetworkSystem | MomentSystem:
    """The system of a network trained on a task.

    Args:
        network: Network in weight coordinates at t = 0.
        task: Inputs and targets; cast to the network's dtype.
        loss: `SquaredLoss("sum")` by default.
        coordinates: "weights", "gram", or "auto": the one with fewer operations a step. Both give
            the same trajectory under every scheme linear in the gradient. "moments" for a linear
            network: the same trajectory under every scheme, at a cost that does not depend on the
            number of samples, and fields of the map in place of those of the samples.
        centred: Train outputs minus their value at t = 0, so that the function starts at zero.

    Raises:
        InputError: for unknown coordinates, shapes that do not fit, or, with moments, a network
            that is not linear and dense, a loss that is not squared, or `centred`.
    """
    check_known("coordinates", coordinates, COORDINATES)
    thin = "be others here: for `thin` ones see `make_planted_system`"
    check(coordinates != "thin", "coordinates", thin, coordinates)
    first = network.layers[0]
    if isinstance(first, GramDense):
        raise InputError("Argument `network` must be in weight coordinates, but is in Gram ones.")
    loss = SquaredLoss() if loss is None else loss
    readout = network.readout
    check(isinstance(readout, Dense), "network", "end in a dense layer", type(readout).__name__)
    if coordinates == "moments":
        check(isinstance(loss, SquaredLoss), "loss", "be squared for moment coordinates", loss)
        check(not centred, "centred", "be false for moment coordinates", centred)
        return make_moment_system(network, task_moments(task, loss.scale(task.n_samples)))
    if not isinstance(task.targets, jax.core.Tracer):
        loss.check_targets(np.asarray(task.targets))
        if task.held_out is not None:
            loss.check_targets(np.asarray(task.held_out.targets))
    task = task.cast(first.matrix().dtype)
    _check_shapes(network, task)
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    offset = network(inputs) if centred else None
    if task.held_out is not None:
        # Gram coordinates know the first layer on the training set alone.
        check(coordinates != "gram", "coordinates", "be weights with samples held out", coordinates)
        check(not centred, "centred", "be false with samples held out", centred)
        coordinates = "weights"
    if not isinstance(first, Dense):
        kind = "convolution" if first.shares_weights else "structured layer"
        told = f"be weights for a network that begins with a {kind}"
        check(coordinates in ("auto", "weights"), "coordinates", told, coordinates)
        coordinates = "weights"
    if coordinates == "auto":
        coordinates = choose_coordinates(*inputs.shape)
    start, origin = network, None
    if coordinates == "gram":
        assert isinstance(first, Dense)
        gram = None if task.input_gram is None else jnp.asarray(task.input_gram)
        start, origin = Network((to_gram(first, inputs, gram), *network.layers[1:])), first
    arrays = start, origin, inputs, targets, loss, offset, task.held_out
    if task.planted_map is None or centred or not _is_planted(network):
        return NetworkSystem(*arrays)
    return SampledSystem(*arrays, planted_map=jnp.asarray(task.planted_map))


def _is_planted(network: Network) -> bool:
    """Whether what is said of planted maps is said of it: both its layers are free matrices."""
    dense = all(isinstance(layer, Dense) for layer in network.layers)
    return dense and learns_both_layers(network)


def make_planted_system(network: Network, population: Population) -> PlantedSystem:
    """The system of a network trained on the population of a planted map.

    Args:
        network: Network in thin coordinates at t = 0, as of `gramdyn.models.thin_network`.
        population: What `gramdyn.data.task_population` gives; cast to the network's dtype.

    Raises:
        InputError: for a network that is not one layer of ReLU and a readout, both trained, without
            biases and multipliers, or shapes that do not fit.
    """
    told = "have free matrices in thin coordinates"
    check(network.free, "network", told, "one of structured layers")
    dtype = network.layers[0].matrix().dtype
    return PlantedSystem(network, jnp.asarray(population.target, dtype))


def make_moment_system(network: Network, moments: Moments) -> MomentSystem:
    """The system of a linear network trained on data given by their moments.

    Args:
        network: Network in weight coordinates at t = 0, layers linear without biases.
        moments: What `gramdyn.data.task_moments` gives; cast to the network's dtype.

    Raises:
        InputError: for a network that is not linear, or shapes that do not fit.
    """
    told = "have free matrices for moment coordinates"
    check(network.free, "network", told, "one of structured layers")
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(network.partition()[0])}
    check(len(dtypes) == 1, "network", "train, all of one dtype", dtypes)
    (dtype,) = dtypes
    return MomentSystem(network, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), moments))


def _check_shapes(network: Network, task: Any) -> None:
    takes, gives = network.layers[0].n_inputs, network.readout.matrix().shape[0]
    wanted = f"take {task.inputs.shape[1]} inputs like the task"
    check(takes == task.inputs.shape[1], "network", wanted, takes)
    wanted = f"have {task.targets.shape[1]} outputs like the task"
    check(gives == task.targets.shape[1], "network", wanted, gives)
