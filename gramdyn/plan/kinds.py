"""Parts of a configuration whose `kind` names a function of a registry."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, create_model
from pydantic_core import PydanticCustomError

from gramdyn._checks import nearest
from gramdyn._errors import InputError
from gramdyn._types import Scalar
from gramdyn.data.registry import TASKS
from gramdyn.dynamics.registry import SCHEMES
from gramdyn.dynamics.schemes import Step
from gramdyn.models.correction import CORRECTIONS
from gramdyn.models.pathway import PATHWAYS


class Strict(BaseModel):
    """A part of a configuration: no unknown keys, not changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Positive = Annotated[int, Field(ge=1)]


class RelativeStep(Strict):
    """`{relative: 0.5}`: a share of 1 / (s lambda_max(K(0))) of each run."""

    relative: float = Field(gt=0)


def _step(value: Any) -> Any:
    if isinstance(value, dict | RelativeStep):
        return RelativeStep.model_validate(value)
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not good:
        raise PydanticCustomError("step", "must be a number above 0 or {relative: number}")
    return float(value)


StepSize = Annotated[float | RelativeStep, BeforeValidator(_step)]


@dataclass(frozen=True)
class Home:
    """One part with a kind.

    Attributes:
        registry: Functions by name; their arguments are the part's other keys.
        extra: Keys that the part has beside them.
        given: Arguments that no configuration gives.
        short: Whether a name alone stands for a part without further keys, and None for none.
    """

    registry: dict[str, Callable[..., Any]]
    extra: tuple[tuple[str, Any], ...] = ()
    given: tuple[str, ...] = ()
    short: bool = False


_STEPS = (
    ("n_steps", (Annotated[int, Field(ge=1, lt=2**31)], ...)),
    ("batch_size", (Positive | None, None)),
)
_LAYER = ("n_out", "n_in", "key", "dtype")
# By dotted key.
HOMES: dict[str, Home] = {
    "task": Home(TASKS),
    "scheme": Home(SCHEMES, _STEPS),
    "network.pathway": Home(PATHWAYS, (), _LAYER, short=True),
    "network.correction": Home(CORRECTIONS, (), _LAYER, short=True),
}


def of_kind(where: str) -> Any:
    """A mapping whose `kind` names a function of a registry, its other keys the arguments."""
    home, told = HOMES[where], where.rsplit(".", 1)[-1]

    def check(value: Any) -> Any:
        if isinstance(value, BaseModel) or (home.short and value is None):
            return value
        if home.short and isinstance(value, str):
            value = {"kind": value}
        known = isinstance(value, dict) and isinstance(value.get("kind"), str)
        if not known or value["kind"] not in home.registry:
            given = value.get("kind") if isinstance(value, dict) else value
            text = f"unknown {told} {given!r}; {nearest(str(given), home.registry)}"
            raise PydanticCustomError("unknown_kind", "{text}", {"text": text, "where": "kind"})
        return model_of(where, value["kind"]).model_validate(value)

    kind = SerializeAsAny[Strict] | None if home.short else SerializeAsAny[Strict]
    return Annotated[kind, BeforeValidator(check)]


def model_of(where: str, kind: str) -> type[Strict]:
    """The model of a part of this kind."""
    return _model_of(where, kind, HOMES[where].registry[kind])


# What a file may give where a function takes an array too.
_PLAIN: dict[Any, Any] = {Step: StepSize, Scalar: float, Scalar | None: float | None}


@cache
def _model_of(where: str, name: str, function: Callable[..., Any]) -> type[Strict]:
    """The model of a function's keyword arguments, from its signature."""
    home = HOMES[where]
    fields: dict[str, Any] = {"kind": (Literal[name], ...), **dict(home.extra)}
    for param in inspect.signature(function).parameters.values():
        if param.name in home.given:
            continue
        required = param.default is inspect.Parameter.empty
        told = type(param.default) if param.annotation is param.empty else param.annotation
        if told in (type, type(None)):
            part = where.rsplit(".", 1)[-1]
            raise InputError(f"Option `{param.name}` of {part} `{name}` needs an annotation.")
        annotation = _PLAIN.get(told, told)
        fields[param.name] = (annotation, ... if required else param.default)
    return create_model(f"{name}_{where.rsplit('.', 1)[-1]}", __base__=Strict, **fields)


def float_keys(part: Strict) -> tuple[str, ...]:
    """Keys of a part that hold floats, so that they may be array axes."""
    given = {name: field.annotation for name, field in type(part).model_fields.items()}
    return tuple(name for name, kind in given.items() if kind is float or float in get_args(kind))
