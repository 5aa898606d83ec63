"""Diagnostics of features: Target Linearity, its surrogate, what a readout could make of them."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_bool, check_known, check_nonnegative, check_positive_int
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.heldout import held_out_of
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.target_linearity import (
    feature_fit,
    heldout_linearity,
    linearity_surrogate,
    principal_scores,
    reference_linearity,
    target_linearity,
)
from gramdyn.kernels.weight_gram import centred
from gramdyn.systems.network_fields import NetworkFields

MODES = ("robust", "reference")


class TargetLinearity(AbstractDiagnostic):
    """Target Linearity of each hidden layer's activations (see `gramdyn.kernels.target_linearity`).

    `linearity`, `linearity_rank` of the features, `linearity_null`, rank / (n - 1), what features
    that know nothing would have, and `linearity_adjusted`, 0 for those on average. Which singular
    values count depends on the width, so that widths do not share a program.

    Attributes:
        ridge: Penalty on the affine map.
        intercept: Whether the map may add a constant.
        components: Principal components that are kept, None for all.
        heldout: Whether `heldout_linearity` is told too: of the samples held out, by the map that
            is fitted on the others.

    Cost: a singular value decomposition of side min(n, N) a layer.
    """

    ridge: float = eqx.field(static=True, default=0.0)
    intercept: bool = eqx.field(static=True, default=True)
    components: int | None = eqx.field(static=True, default=None)
    heldout: bool = eqx.field(static=True, default=False)
    name: ClassVar[str] = "target_linearity"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        names = ("linearity", "linearity_rank", "linearity_null", "linearity_adjusted")
        more = ("heldout_linearity",) if self.heldout else ()
        return dict.fromkeys((*names, *more), ("hidden",))

    def start(self, fields: NetworkFields, scheme: Any) -> None:
        """Nothing.

        Raises:
            InputError: for `heldout` of a task without held-out samples.
        """
        if self.heldout:
            held_out_of(fields, self.name)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Layer by layer."""
        acts = [trace.act for trace in fields.traces[:-1]]
        if self.components is not None:
            acts = [principal_scores(act, self.components) for act in acts]
        found = [
            target_linearity(act, fields.targets, intercept=self.intercept, ridge=self.ridge)
            for act in acts
        ]
        columns = [jnp.stack(column) for column in zip(*found, strict=True)]
        if self.heldout:
            columns.append(self._heldout(fields))
        return dict(zip(self.dims(), columns, strict=True)), memory

    def _heldout(self, fields: NetworkFields) -> Float[Array, " hidden"]:
        others = held_out_of(fields, self.name)
        pairs = zip(fields.traces[:-1], others.traces[:-1], strict=True)
        return jnp.stack(
            [
                heldout_linearity(
                    one.act,
                    fields.targets,
                    other.act,
                    others.targets,
                    intercept=self.intercept,
                    ridge=self.ridge,
                )
                for one, other in pairs
            ]
        )


class ReferenceLinearity(AbstractDiagnostic):
    """Target Linearity of each hidden layer as the authors' code has it, its faults included.

    Attributes:
        shift: Added to the diagonal of the Gram that is inverted; None as the code does.
    """

    shift: float | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "reference_linearity"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"reference_linearity": ("hidden",)}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Layer by layer."""
        wanted = centred(fields.targets)
        acts = [trace.act for trace in fields.traces[:-1]]
        found = [reference_linearity(act, wanted, shift=self.shift) for act in acts]
        return {"reference_linearity": jnp.stack(found)}, memory


@register("target_linearity")
def make_target_linearity(
    ridge: float = 0.0,
    intercept: bool = True,
    components: int | None = None,
    heldout: bool = False,
    mode: str = "robust",
) -> AbstractDiagnostic:
    """Target Linearity of each hidden layer, with rank, null value and adjusted value.

    With mode "reference" it is the authors' function, `reference_linearity`; `ridge` is then what
    is added to the diagonal.
    """
    check_known("mode", mode, MODES)
    check_nonnegative("ridge", ridge)
    if mode == "reference":
        for key, given, plain in (
            ("intercept", intercept, True),
            ("components", components, None),
            ("heldout", heldout, False),
        ):
            check(given is plain, key, "be left out with mode: reference", given)
        return ReferenceLinearity(ridge or None)
    kept = None if components is None else check_positive_int("components", components)
    check(not (heldout and kept), "heldout", "be left out with components", heldout)
    return TargetLinearity(
        ridge, check_bool("intercept", intercept), kept, check_bool("heldout", heldout)
    )


@diagnostic({"surrogate": ("hidden",), "surrogate_normalised": ("hidden",)}, sees_padding=False)
def surrogate(fields: NetworkFields) -> dict[str, Array]:
    """Alignment of each hidden layer's features with the targets through the next weights.

    mean_c y_c^T Z Z^T y_c with Z = H W^T, and the same over |Z|_F^2 |Y|_2^2 / C, in [0, 1]. W is
    the matrix of the next layer, a structured one as any other; what skips it is left out.

    Raises:
        InputError: for convolutions, or corrections, above the first layer.
    """
    above = fields.network.layers[1:]
    told = "be dense above its first layer for diagnostic `surrogate`"
    check(not any(layer.shares_weights for layer in above), "network", told, "convolutional")
    told = "have no corrections above its first layer for diagnostic `surrogate`"
    bare = all(layer.free or not layer.skips for layer in above)
    check(bare, "network", told, "one with corrections")
    pairs = zip(fields.traces[:-1], above, strict=True)
    found = [
        linearity_surrogate(trace.act, fields.targets, layer.matrix()) for trace, layer in pairs
    ]
    return {
        "surrogate": jnp.stack([one["surrogate"] for one in found]),
        "surrogate_normalised": jnp.stack([one["normalised"] for one in found]),
    }


class LastFeatures(AbstractDiagnostic):
    """What the last hidden layer's features could tell of the targets, and what the readout does.

    With p the ridge fit of the targets by them, no intercept: `feature_residual` = |y - p|,
    `readout_distance` = |f - p|, `residual_norm` = |y - f|. Without ridge, bias of the readout and
    centring these are the sides of a right triangle.

    Attributes:
        ridge: Penalty on the fit.

    Cost: a singular value decomposition of side min(n, N).
    """

    ridge: float = eqx.field(static=True, default=0.0)
    name: ClassVar[str] = "last_features"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Three numbers."""
        return {"feature_residual": (), "readout_distance": (), "residual_norm": ()}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Of the last hidden layer."""
        found = feature_fit(fields.traces[-2].act, fields.targets, fields.outputs, ridge=self.ridge)
        return dict(zip(self.dims(), found, strict=True)), memory


@register("last_features")
def make_last_features(ridge: float = 0.0) -> LastFeatures:
    """Targets, outputs and the ridge fit by the last features: three distances."""
    return LastFeatures(check_nonnegative("ridge", ridge))
