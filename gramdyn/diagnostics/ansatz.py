"""Diagnostics of the neural feature ansatz: weight Grams beside gradient outer products."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from gramdyn._checks import check_bool, check_known, check_positive
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import register
from gramdyn.diagnostics.weight_grams import check_free
from gramdyn.kernels.agop import (
    CORRELATIONS,
    centred_ansatz_correlation,
    jacobian_correlation,
)
from gramdyn.systems.network_fields import NetworkFields


class FeatureAnsatz(AbstractDiagnostic):
    """How alike each layer's weight Gram and a power of the average gradient outer product are.

    Attributes:
        power: The power.
        correlation: "cosine" or "pearson".
        centre: Whether each Jacobian is taken less their mean.
        moved: Whether `feature_ansatz_moved` is told too: the cosine of V^T V and V^T K V, V what
            the weights have moved since the start.

    Cost: 2 n C M^2 operations and one eigendecomposition of side M a layer of M inputs, or a
        decomposition of side n C where that is less.
    """

    power: float = eqx.field(static=True, default=0.5)
    correlation: str = eqx.field(static=True, default="cosine")
    centre: bool = eqx.field(static=True, default=False)
    moved: bool = eqx.field(static=True, default=False)
    name: ClassVar[str] = "feature_ansatz"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        names = ("feature_ansatz", *(("feature_ansatz_moved",) if self.moved else ()))
        return dict.fromkeys(names, ("layer",))

    def start(self, fields: NetworkFields, scheme: Any) -> tuple[Array, ...]:
        """The weights, where what has moved is asked for.

        Raises:
            InputError: for a first layer in Gram coordinates, or structured layers.
        """
        check_free(fields, self.name)
        layers = fields.network.layers
        return tuple(layers[i].matrix() for i in fields.trained) if self.moved else ()

    def observe(
        self, memory: tuple[Array, ...], fields: NetworkFields
    ) -> tuple[dict[str, Array], tuple[Array, ...]]:
        """Of each trained layer; of the readout exact with power 1, or 0 with centred Jacobians."""
        layers = fields.network.layers
        weights = [layers[i].matrix() for i in fields.trained]
        sens = [layers[i].sens_rows(fields.sens[i]) for i in fields.trained]
        pairs = list(zip(weights, sens, strict=True))
        found = {"feature_ansatz": jnp.stack([self._correlation(*pair) for pair in pairs])}
        if self.moved:
            trios = [
                centred_ansatz_correlation(weight, start, one)
                for (weight, one), start in zip(pairs, memory, strict=True)
            ]
            found["feature_ansatz_moved"] = jnp.stack(trios)
        return found, memory

    def _correlation(self, weight: Array, sens: Array) -> Array:
        return jacobian_correlation(
            weight,
            sens @ weight,
            power=self.power,
            correlation=self.correlation,
            centre=self.centre,
        )


@register("feature_ansatz")
def make_feature_ansatz(
    power: float = 0.5, correlation: str = "cosine", centre: bool = False, moved: bool = False
) -> FeatureAnsatz:
    """Correlation of each weight Gram with a power of the average gradient outer product."""
    check_known("correlation", correlation, CORRELATIONS)
    flags = check_bool("centre", centre), check_bool("moved", moved)
    return FeatureAnsatz(check_positive("power", power), correlation, *flags)
