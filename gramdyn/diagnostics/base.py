"""What a diagnostic is: a fold over the trajectory that gives named arrays at saved times."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Int

from gramdyn.systems.network_fields import NetworkFields

Dims = tuple[str, ...]


class AbstractDiagnostic(eqx.Module):
    """Something looked at. Most need `observe` alone; a memory serves what compares two times.

    Attributes:
        name: What configurations call it.
        needs: Class of fields it reads; another system's fields are refused before the run.
        chatters: Whether a kink's chatter shows in it, so that a running average is worth having.
    """

    if TYPE_CHECKING:  # a type checker would take the abstract variables for fields

        @property
        def name(self) -> str: ...  # noqa: D102
        @property
        def needs(self) -> type: ...  # noqa: D102
        @property
        def chatters(self) -> bool: ...  # noqa: D102

    else:
        name: eqx.AbstractVar[str]
        needs: eqx.AbstractVar[type]
        chatters: eqx.AbstractVar[bool]

    @property
    def ignores_padding(self) -> bool:
        """Whether neurons that only fill a layer up leave its arrays as they are; unknown is no."""
        return False

    @abstractmethod
    def dims(self) -> dict[str, Dims]:
        """Names of the axes of each array that `observe` gives, the time axis left out."""

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Labels along an axis of `dims` that has any; none by default."""
        return {}

    def start(self, fields: Any, scheme: Any) -> Any:
        """Memory at t = 0, a pytree of arrays; nothing by default.

        Args:
            fields: The fields at t = 0.
            scheme: The scheme of the run, its step resolved: what steps a companion system that is
                to be compared with the run (see `gramdyn.diagnostics.companion`).
        """
        return None

    def step(self, memory: Any, fields: Any, left: Int[Array, ""]) -> Any:
        """Memory after a step between saved times, `left` steps before the next; unchanged here."""
        return memory

    @abstractmethod
    def observe(self, memory: Any, fields: Any) -> tuple[dict[str, Array], Any]:
        """Named arrays of a saved time, and the memory after it."""


class EveryState(AbstractDiagnostic):
    """A fold that looks at every state of the run, at saved times and between them."""

    chatters: ClassVar[bool] = False

    @abstractmethod
    def look(self, memory: Any, fields: Any) -> Any:
        """Memory after one more state."""

    @abstractmethod
    def tell(self, memory: Any) -> dict[str, Array]:
        """Named arrays from the memory."""

    def step(self, memory: Any, fields: Any, left: Int[Array, ""]) -> Any:
        """One more state."""
        return self.look(memory, fields)

    def observe(self, memory: Any, fields: Any) -> tuple[dict[str, Array], Any]:
        """One more state, and what there is to tell."""
        memory = self.look(memory, fields)
        return self.tell(memory), memory


class Instant(AbstractDiagnostic):
    """A diagnostic of one time alone: a function of the fields.

    Attributes:
        name: What configurations call it.
        function: From the fields to one array, or to several by name.
        axes: Names of the axes of each array; by default axes are numbered.
        needs: Class of fields it reads.
        chatters: Whether a kink's chatter shows in it, so that a running average is worth having.
        sees_padding: Whether neurons that only fill a layer up may change its arrays.
    """

    name: str = eqx.field(static=True)
    function: Callable[[Any], Array | dict[str, Array]] = eqx.field(static=True)
    axes: tuple[tuple[str, Dims], ...] = eqx.field(static=True, default=())
    needs: type = eqx.field(static=True, default=NetworkFields)
    chatters: bool = eqx.field(static=True, default=False)
    sees_padding: bool = eqx.field(static=True, default=True)

    @property
    def ignores_padding(self) -> bool:
        """What it was entered with."""
        return not self.sees_padding

    def dims(self) -> dict[str, Dims]:
        """Names of the axes, where they were given."""
        return dict(self.axes)

    def observe(self, memory: Any, fields: Any) -> tuple[dict[str, Array], Any]:
        """The function's arrays by name."""
        found = self.function(fields)
        return (found if isinstance(found, dict) else {self.name: found}), memory
