"""Diagnostics by name, and how a user's own one joins them."""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from gramdyn._checks import check, check_known
from gramdyn._errors import InputError
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims, Instant
from gramdyn.systems.network_fields import NetworkFields

DIAGNOSTICS: dict[str, Callable[..., AbstractDiagnostic]] = {}


Make = TypeVar("Make", bound=Callable[..., AbstractDiagnostic])


def register(name: str) -> Callable[[Make], Make]:
    """Enter a factory of diagnostics by name; its keyword arguments are the options."""

    def enter(make: Make) -> Make:
        DIAGNOSTICS[name] = make
        return make

    return enter


class _Entered:
    """Factory of a diagnostic that has no options, and the function it was made of."""

    def __init__(self, of: Callable[[Any], Any], made: AbstractDiagnostic):
        self.of, self.made = of, made

    def __call__(self) -> AbstractDiagnostic:
        return self.made


def diagnostic(
    axes: dict[str, Dims],
    *,
    needs: type = NetworkFields,
    chatters: bool = False,
    sees_padding: bool = True,
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Enter a function of the fields as a diagnostic under its own name.

    Args:
        axes: Names of the axes of each array it gives, time and runs left out, such as
            {"residual": ("sample", "output")}.
        needs: Class of fields it reads.
        chatters: Whether a running average is worth having (see `Record`).
        sees_padding: Whether neurons without weights, which fill a layer up to a wider one, may
            change its arrays; where they may not, runs of unlike widths can share a program.

    Example:
        >>> @diagnostic({"mean_square": ()})
        ... def mean_square(fields):
        ...     return (fields.outputs ** 2).mean()
    """

    def enter(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        name = function.__name__
        made = Instant(name, function, tuple(axes.items()), needs, chatters, sees_padding)
        DIAGNOSTICS[name] = _Entered(function, made)
        return function

    return enter


def make_diagnostic(what: Any, **options: Any) -> AbstractDiagnostic:
    """The diagnostic that a name, a function or an object stands for.

    Args:
        what: A name in `DIAGNOSTICS`, "module:function" of a function of the fields, such a
            function, or a diagnostic itself.
        options: Keyword arguments of a named diagnostic.

    Raises:
        InputError: for an unknown name, an option it does not have, or a module without it.
    """
    known = isinstance(what, str) and ":" not in what
    check(known or not options, "options", f"be left out for {what!r}", options)
    if isinstance(what, AbstractDiagnostic):
        return what
    if callable(what):
        for make in DIAGNOSTICS.values():  # entered with its axes already
            if getattr(make, "of", None) is what:
                return make()
        # What a plain function reads is its own affair.
        return Instant(_plain_name(what), what, needs=object)
    check(isinstance(what, str), "of", "hold names, functions or diagnostics", what)
    if ":" in what:
        return make_diagnostic(_import(what))
    check_known("diagnostic", what, DIAGNOSTICS)
    try:
        return DIAGNOSTICS[what](**options)
    except TypeError as error:
        raise InputError(f"Diagnostic `{what}` does not take {options}: {error}.") from None


def _plain_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else name


def _import(path: str) -> Callable[[Any], Any]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"Diagnostic `{path}` cannot be imported: {error}.") from None
    if not callable(found):
        raise InputError(f"Diagnostic `{path}` must be a function of the fields, but is {found!r}.")
    return found
