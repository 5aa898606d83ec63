"""Schemes by name, as configurations say them."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from gramdyn._checks import check_known
from gramdyn._types import Scalar
from gramdyn.dynamics.adaptive import Adaptive
from gramdyn.dynamics.midpoint import ImplicitMidpoint
from gramdyn.dynamics.optimisers import Optax
from gramdyn.dynamics.schemes import (
    AbstractScheme,
    GradientDescent,
    RungeKutta4,
    Step,
    euler,
)

SCHEMES: dict[str, Callable[..., AbstractScheme]] = {}
Make = TypeVar("Make", bound=Callable[..., AbstractScheme])


def register_scheme(name: str) -> Callable[[Make], Make]:
    """Enter a factory of schemes by name.

    Its keyword arguments, with their annotations, are the keys a configuration may give; those
    annotated `Scalar` (or `Step`) may be axes of a sweep without compiling anew.
    """

    def enter(make: Make) -> Make:
        SCHEMES[name] = make
        return make

    return enter


@register_scheme("gradient_descent")
def make_gradient_descent(
    *, step_size: Step, momentum: Scalar | None = None, weight_decay: Scalar | None = None
) -> AbstractScheme:
    """Gradient descent with heavy-ball momentum and weight decay."""
    return GradientDescent(step_size, momentum, weight_decay)


@register_scheme("gradient_flow")
def make_gradient_flow(
    *,
    step_size: Step,
    method: Literal["euler", "rk4", "midpoint", "adaptive"] = "euler",
    rtol: Scalar = 1e-3,
    atol: Scalar = 1e-5,
    max_steps: int = 4096,
) -> AbstractScheme:
    """Gradient flow in time steps of `step_size`.

    Tolerances belong to the adaptive method, `max_steps` to it and to the implicit midpoint.
    """
    check_known("method", method, ("euler", "rk4", "midpoint", "adaptive"))
    if method == "adaptive":
        return Adaptive(step_size, rtol, atol, max_steps)
    if method == "midpoint":
        return ImplicitMidpoint(step_size, max_steps)
    return euler(step_size) if method == "euler" else RungeKutta4(step_size)


@register_scheme("optax")
def make_optax(
    *,
    optimizer: str,
    step_size: Step,
    options: dict[str, Any] | None = None,
    whitening: Literal["none", "svd", "newton_schulz", "rotation"] = "none",
) -> AbstractScheme:
    """Any optimiser of optax by name, with its further keyword arguments as `options`.

    Its steps may be reduced to what moves the weight Grams, by the exact polar factor or by
    Newton-Schulz, or to what does not: see `gramdyn.gram_whitening`.
    """
    return Optax(optimizer, step_size, tuple((options or {}).items()), whitening)
