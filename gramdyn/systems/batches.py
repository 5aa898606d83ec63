"""Training on mini-batches: other samples in each step, in an order drawn anew for each epoch."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check
from gramdyn._types import Key
from gramdyn.models.network import Network
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.network_fields import NetworkFields


def draw_orders(key: Key, n_samples: int, size: int, n_steps: int) -> Int[Array, "epochs n"]:
    """An order of the samples for each epoch that so many steps take.

    Raises:
        InputError: for a size of batches that is not 1 to the number of samples.

    Cost: epochs x n whole numbers.
    """
    check(1 <= size <= n_samples, "size", f"be 1 to the number of samples {n_samples}", size)
    epochs = -(-n_steps // (n_samples // size))
    keys = jax.random.split(key, epochs)
    order = jax.vmap(lambda one: jax.random.permutation(one, n_samples))(keys)
    return order.astype(jnp.int32)


def rows_of_step(
    order: Int[Array, "epochs n"], size: int, step: Int[Array, ""]
) -> Int[Array, " size"]:
    """Samples of batch t mod m of epoch floor(t / m) at step t, m = floor(n / size)."""
    epochs, n = order.shape
    count = n // size
    epoch, place = (step // count) % epochs, (step % count) * size
    return lax.dynamic_slice(order, (epoch, place), (1, size))[0]


class BatchFields(NetworkFields):
    """Fields on the whole training set, for those who look, and on the batch that is trained on.

    Attributes:
        batch: Fields on the batch of this step.
    """

    def __init__(self, whole: NetworkFields, batch: NetworkFields):
        seen = whole.inputs, whole.targets, whole.loss_function, whole.offset
        super().__init__(whole.network, *seen, whole._held_out)
        self.batch = batch

    @property
    def trained_on(self) -> NetworkFields:
        """Those of the batch."""
        return self.batch

    @property
    def watched_loss(self) -> Float[Array, ""]:
        """The loss of the batch."""
        return self.batch.loss


class BatchSystem(NetworkSystem):
    """A `NetworkSystem` in weight coordinates that is trained on a part of its samples a step.

    Step t takes batch t mod m of epoch floor(t / m), m = floor(n / size). In each epoch the samples
    come in another order, and the n - m size last ones are left out. What is recorded is that of
    the whole training set; a run has diverged by the loss of its batches.

    Attributes:
        order: Order of the samples in each epoch, shape (epochs, n); after the last one the first.
        size: Samples of a batch.
        step: The step it is in.
    """

    order: Int[Array, "epochs n"] = eqx.field(kw_only=True)
    size: int = eqx.field(static=True, kw_only=True)
    step: Int[Array, ""] = eqx.field(kw_only=True)

    def at(self, step: Int[Array, ""]) -> "BatchSystem":
        """The system in a step."""
        return replace(self, step=step)

    @property
    def rows(self) -> Int[Array, " size"]:
        """Samples of this step's batch."""
        return rows_of_step(self.order, self.size, self.step)

    def fields(self, state: Network) -> BatchFields:
        """The fields on the training set, and on the batch."""
        whole, rows = super().fields(state), self.rows
        offset = None if self.offset is None else self.offset[rows]
        seen = self.inputs[rows], self.targets[rows]
        return BatchFields(whole, NetworkFields(whole.network, *seen, self.loss, offset))

    def velocity(self, state: Network, fields: NetworkFields | None = None) -> Network:
        """Minus the gradient of the batch's loss."""
        fields = self.fields(state) if fields is None else fields
        assert isinstance(fields, BatchFields)
        return super().velocity(state, fields.batch)

    def step_flops(self) -> int:
        """Operations of one gradient step, matrix products alone."""
        return super().step_flops() * self.size // self.targets.shape[0]


def in_batches(system: NetworkSystem, key: Key, size: int, n_steps: int) -> BatchSystem:
    """The system, trained on mini-batches.

    Args:
        system: System of a network in weight coordinates.
        key: Random key of the orders.
        size: Samples of a batch, 1 to n.
        n_steps: Steps that will be made; as many orders are drawn as these take.

    Raises:
        InputError: for a size out of range, or another than weight coordinates.

    Cost: epochs x n whole numbers kept a run.
    """
    n = system.targets.shape[0]
    check(system.coordinates == "weights", "coordinates", "be weights for batches", "gram")
    return BatchSystem(
        system.start,
        system.origin,
        system.inputs,
        system.targets,
        system.loss,
        system.offset,
        system.held_out,
        order=draw_orders(key, n, size, n_steps),
        size=size,
        step=jnp.zeros((), jnp.int32),
    )
