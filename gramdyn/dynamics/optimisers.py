"""Any optax optimiser as a scheme."""

import inspect
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax

from gramdyn._checks import check_known
from gramdyn._types import Scalar
from gramdyn.dynamics.schemes import AbstractScheme, Relative, Step, check_step
from gramdyn.dynamics.whitening import gram_whitening
from gramdyn.systems.base import AbstractSystem

if TYPE_CHECKING:
    import optax

WHITENINGS: dict[str, Callable[[Any], Any]] = {
    "none": lambda inner: inner,
    "svd": gram_whitening,
    "newton_schulz": partial(gram_whitening, method="newton_schulz"),
    "rotation": partial(gram_whitening, keep="rotation"),
}

# Plain, momentum and Nesterov descent act on each gradient by fixed numbers; the others do not.
_LINEAR = ("sgd",)


def _optax() -> ModuleType:
    """The library, a tenth of a second to import, which most runs do not need."""
    import optax

    return optax


@cache
def known_optimisers() -> tuple[str, ...]:
    """Names of the optimisers in optax that take a learning rate and nothing else by need."""
    found = vars(_optax())
    return tuple(sorted(name for name, thing in found.items() if _is_optimiser(thing)))


def _is_optimiser(thing: Any) -> bool:
    if not inspect.isfunction(thing):
        return False
    params = list(inspect.signature(thing).parameters.values())
    needed = [param.name for param in params if param.default is inspect.Parameter.empty]
    return bool(params) and params[0].name == "learning_rate" and needed == ["learning_rate"]


class Optax(AbstractScheme):
    """An optax optimiser, by name or as a function of its learning rate.

    Attributes:
        make: Name of an optimiser in optax, or a function learning rate -> gradient transformation.
        step_size: Learning rate, a number or `Relative`.
        options: Further keyword arguments of the named optimiser, as (name, value) pairs.
        whitening: "none", or what is kept of each step of a matrix: see `WHITENINGS`.
        linear: Whether the steps are linear in the gradients; false unless the optimiser is "sgd".
            Elementwise optimisers such as Adam are not, so they need weight coordinates.
    """

    make: "str | Callable[[Scalar], optax.GradientTransformation]" = eqx.field(static=True)
    step_size: Step
    options: tuple[tuple[str, Any], ...] = eqx.field(static=True, default=())
    whitening: str = eqx.field(static=True, default="none")
    linear: bool = eqx.field(static=True, default=False)

    def __init__(
        self,
        make: "str | Callable[[Scalar], optax.GradientTransformation]",
        step_size: Step,
        options: tuple[tuple[str, Any], ...] = (),
        whitening: str = "none",
    ):
        if isinstance(make, str):
            check_known("optimiser", make, known_optimisers())
            allowed = list(inspect.signature(getattr(_optax(), make)).parameters)[1:]
            for name, _ in options:
                check_known(f"option of {make}", name, allowed)
        check_step(step_size)
        check_known("whitening", whitening, WHITENINGS)
        self.make, self.step_size, self.options = make, step_size, options
        self.whitening = whitening
        self.linear = make in _LINEAR and whitening == "none"

    def transformation(self) -> Any:
        """The gradient transformation itself."""
        assert not isinstance(self.step_size, Relative)
        if isinstance(self.make, str):
            inner = getattr(_optax(), self.make)(self.step_size, **dict(self.options))
        else:
            inner = self.make(self.step_size)
        return WHITENINGS[self.whitening](inner)

    def init(self, state: Any) -> Any:
        """State of the optimiser."""
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in other dtypes
            return self.transformation().init(state)

    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """One update."""
        gradient = jax.tree.map(lambda v: -v, system.velocity(state, fields))
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = self.transformation().update(gradient, memory, state)
            return _optax().apply_updates(state, updates), memory
