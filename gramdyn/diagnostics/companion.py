"""A companion: another system stepped beside the run by the same scheme, to compare the two."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from gramdyn._checks import check
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.network_fields import NetworkFields


def check_whole(fields: NetworkFields, reader: str) -> None:
    """Refuse a run on mini-batches beside which a companion would see all samples.

    Raises:
        InputError: naming the key.
    """
    whole = fields.trained_on is fields
    check(whole, "batch_size", f"be left out for diagnostic `{reader}`", "set")


class Companion(eqx.Module):
    """A system beside the run, as the memory of a diagnostic.

    Attributes:
        system: What evolves.
        scheme: The scheme of the run, its step resolved.
        state: Its state now.
        memory: The scheme's memory of it.
    """

    system: AbstractSystem
    scheme: Any
    state: Any
    memory: Any

    @staticmethod
    def of(system: AbstractSystem, scheme: Any, reader: str) -> "Companion":
        """The companion at t = 0, for the diagnostic of that name.

        Raises:
            InputError: for a scheme that its coordinates are not exact for.
        """
        system.check_scheme(scheme, reader)
        state = system.initial_state()
        return Companion(system, scheme, state, scheme.init(state))

    def fields(self) -> Any:
        """What it shows now."""
        return self.system.fields(self.state)

    def step(self, fields: Any) -> "Companion":
        """The companion one step later; `fields` are those of its state.

        Where the scheme is in trouble (an adaptive one that ran out of steps) the state is NaN from
        then on: standing still it would be compared as if it were right.
        """
        state, memory = self.scheme.step(self.system, self.state, self.memory, fields)
        good = self.scheme.trouble(memory) == 0
        state = jax.tree.map(lambda leaf: jnp.where(good, leaf, jnp.nan), state)
        return Companion(self.system, self.scheme, state, memory)
