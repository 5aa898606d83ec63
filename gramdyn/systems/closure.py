"""How much of the hierarchy of fields and operators is kept: closures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gramdyn._checks import check, check_known


@dataclass(frozen=True)
class Closure:
    """What the laws of the fields keep.

    The fields (z, q, r) close among themselves up to the operators that carry a change across
    layers, and up to the jumps of q where a mask flips. This says what is kept of both.

    Attributes:
        flips: Whether the jumps are kept. They are exact only with all operators, under plain
            gradient descent.
        order: Layers that operators may cross: Gamma^{l,k} is kept for l - k <= order and P^{l,k}
            for k - l - 1 <= order. 0 drops all but the identities; None keeps all.
        expansion: Power of the weights' movement since t = 0 to which the maps J that carry a
            change across layers are expanded, masks being the present ones. 0 freezes their
            weights, 1 adds their first-order movement; None keeps all powers. What is carried,
            each layer's own learning, is read from the fields as they stand.

    Source: arXiv 2606.09744.
    """

    flips: bool = True
    order: int | None = None
    expansion: int | None = None

    def __post_init__(self) -> None:
        for name in ("order", "expansion"):
            value = getattr(self, name)
            good = value is None or (type(value) is int and value >= 0)
            check(good, name, "be a whole number of at least 0, or left out", value)
        check(
            not self.flips or (self.order is None and self.expansion is None),
            "flips",
            "be false where `order` or `expansion` cuts the operators",
            self.flips,
        )

    @property
    def name(self) -> str:
        """Its name in `CLOSURES`, or its cuts, such as "order-1"."""
        for name, known in CLOSURES.items():
            if known == self:
                return name
        cuts = (("order", self.order), ("expansion", self.expansion))
        return "_".join(f"{key}-{value}" for key, value in cuts if value is not None)

    def keeps(self, crossed: int, moved: int) -> bool:
        """Whether a part that crossed so many layers, with so many weight movements, is kept."""
        return (self.order is None or crossed <= self.order) and (
            self.expansion is None or moved <= self.expansion
        )


CLOSURES = {
    "exact": Closure(),
    "flips_omitted": Closure(flips=False),
    "frozen": Closure(flips=False, expansion=0),
    "dropped": Closure(flips=False, order=0),
}


def make_closure(what: str | Mapping[str, Any] | Closure) -> Closure:
    """The closure of a name in `CLOSURES`, of `{order: ..., expansion: ...}`, or itself.

    Raises:
        InputError: for an unknown name or key, or a number that cannot be.
    """
    if isinstance(what, Closure):
        return what
    if isinstance(what, str):
        return CLOSURES[check_known("closure", what, CLOSURES)]
    good = isinstance(what, Mapping) and any(value is not None for value in what.values())
    check(good, "closure", f"be one of {', '.join(CLOSURES)}, or give `order` or `expansion`", what)
    for key in what:
        check_known("key of a closure", key, ("order", "expansion"))
    return replace(CLOSURES["flips_omitted"], **what)
