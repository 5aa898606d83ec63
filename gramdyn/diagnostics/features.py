"""Diagnostics of feature learning: Target Linearity, weight Grams, the ansatz, Neural Collapse.

Those of weights read a layer's weights, so they need a first layer in weight coordinates. A layer's
forward multiplier counts as part of its weights.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known, check_nonnegative, check_positive
from gramdyn._types import Scalar
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.agop import CORRELATIONS, ansatz_correlation, average_gradient_product
from gramdyn.kernels.collapse import neural_collapse
from gramdyn.kernels.target_linearity import linearity_surrogate, target_linearity
from gramdyn.kernels.weight_gram import (
    gram_against_virtual,
    gram_products,
    learning_equation_error,
)
from gramdyn.models.layers import Dense, GramDense
from gramdyn.systems.network_fields import NetworkFields


class TargetLinearity(AbstractDiagnostic):
    """Target Linearity of each hidden layer's activations (see `gramdyn.kernels.target_linearity`).

    `linearity`, `linearity_rank` of the features, `linearity_null` = rank / (n - 1), what features
    that know nothing would have, and `linearity_adjusted`, 0 for those on average.

    Attributes:
        ridge: Penalty on the affine map.

    Cost: a singular value decomposition of side min(n, N) a layer.
    """

    ridge: float = eqx.field(static=True, default=0.0)
    name: ClassVar[str] = "target_linearity"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Units that are always 0 change nothing."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the four arrays."""
        names = ("linearity", "linearity_rank", "linearity_null", "linearity_adjusted")
        return dict.fromkeys(names, ("hidden",))

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Layer by layer."""
        found = [
            target_linearity(trace.act, fields.targets, ridge=self.ridge)
            for trace in fields.traces[:-1]
        ]
        columns = (jnp.stack(column) for column in zip(*found, strict=True))
        return dict(zip(self.dims(), columns, strict=True)), memory


@register("target_linearity")
def make_target_linearity(ridge: float = 0.0) -> TargetLinearity:
    """Target Linearity of each hidden layer, with rank, null value and adjusted value."""
    return TargetLinearity(check_nonnegative("ridge", ridge))


@diagnostic({"surrogate": ("hidden",), "surrogate_normalised": ("hidden",)}, sees_padding=False)
def surrogate(fields: NetworkFields) -> dict[str, Array]:
    """Alignment of each hidden layer's features with the targets through the next weights.

    mean_c y_c^T Z Z^T y_c with Z = H W^T, and the same over |Z|_F^2 |Y|_2^2 / C, in [0, 1].
    """
    pairs = zip(fields.traces[:-1], fields.network.layers[1:], strict=True)
    found = [
        linearity_surrogate(trace.act, fields.targets, layer.matrix()) for trace, layer in pairs
    ]
    return {
        "surrogate": jnp.stack([one["surrogate"] for one in found]),
        "surrogate_normalised": jnp.stack([one["normalised"] for one in found]),
    }


@diagnostic({"learning_equation": ("layer",)})
def learning_equation(fields: NetworkFields) -> Float[Array, " L"]:
    """|W^T g - G^T H|_F / |G^T H|_F of each trained layer: rounding, at any time, on any batch.

    Raises:
        InputError: for a first layer in Gram coordinates.
    """
    check_weights(fields, "learning_equation")
    parts = [_parts(fields.trained_on, i) for i in fields.trained]
    return jnp.stack([learning_equation_error(*part) for part in parts])


@register("gram_virtual")
class GramVirtual(AbstractDiagnostic):
    """How alike the next steps of weight Gram and virtual covariance are, in each trained layer.

    Of a step of gradient descent with the run's step size and batch: `gram_cosine` of the two
    changes, and `gram_gap`, the norm of their difference over that of the change of the Gram. They
    agree to first order in the step.

    Cost: O(n^2 (M + N)) or O(M^2 (n + N)) operations a layer of N by M, whichever is less.
    """

    name: ClassVar[str] = "gram_virtual"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Neurons without weights have neither gradients nor Grams."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {"gram_cosine": ("layer",), "gram_gap": ("layer",)}

    def start(self, fields: NetworkFields, scheme: Any) -> Scalar:
        """The step size.

        Raises:
            InputError: for a first layer in Gram coordinates, or a scheme other than descent.
        """
        check_weights(fields, self.name)
        check(scheme.is_descent, "scheme", "be gradient descent for gram_virtual", scheme)
        return jnp.asarray(scheme.step_size)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Of the step from here."""
        found = []
        for i in fields.trained:
            weight, inputs, sens = _parts(fields.trained_on, i)
            layer = fields.network.layers[i]
            scale = layer.scale if isinstance(layer, Dense) and layer.scale is not None else None
            eta = memory if scale is None else memory * scale**2
            found.append(gram_against_virtual(gram_products(inputs, sens, sens @ weight), eta))
        return {
            "gram_cosine": jnp.stack([one["cosine"] for one in found]),
            "gram_gap": jnp.stack([one["gap"] for one in found]),
        }, memory


class FeatureAnsatz(AbstractDiagnostic):
    """How alike each layer's weight Gram and a power of the average gradient outer product are.

    Attributes:
        power: The power.
        correlation: "cosine" or "pearson".

    Cost: 2 n C M^2 operations and one eigendecomposition of side M a layer of M inputs.
    """

    power: float = eqx.field(static=True, default=0.5)
    correlation: str = eqx.field(static=True, default="cosine")
    name: ClassVar[str] = "feature_ansatz"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"feature_ansatz": ("layer",)}

    def start(self, fields: NetworkFields, scheme: Any) -> None:
        """Nothing.

        Raises:
            InputError: for a first layer in Gram coordinates.
        """
        check_weights(fields, self.name)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Of each trained layer; of the readout it is exact with power 1."""
        found = []
        for i in fields.trained:
            weight = fields.network.layers[i].matrix()
            product = average_gradient_product(fields.sens[i] @ weight)
            found.append(
                ansatz_correlation(
                    weight.T @ weight, product, power=self.power, correlation=self.correlation
                )
            )
        return {"feature_ansatz": jnp.stack(found)}, memory


@register("feature_ansatz")
def make_feature_ansatz(power: float = 0.5, correlation: str = "cosine") -> FeatureAnsatz:
    """Correlation of each weight Gram with a power of the average gradient outer product."""
    check_known("correlation", correlation, CORRELATIONS)
    return FeatureAnsatz(check_positive("power", power), correlation)


_COLLAPSE = (
    *("collapse_within", "collapse_within_ratio", "collapse_mean_norms", "collapse_weight_norms"),
    *("collapse_mean_angles", "collapse_weight_angles", "collapse_simplex", "collapse_duality"),
    "collapse_disagreement",
)


@diagnostic(dict.fromkeys(_COLLAPSE, ()))
def collapse(fields: NetworkFields) -> dict[str, Array]:
    """Measures of Neural Collapse of the last hidden layer (see `gramdyn.kernels.collapse`).

    Classes are those of the largest target. All are 0 for a simplex of points with the classifier
    that is its dual.

    Raises:
        InputError: for a single output.
    """
    n_outputs = fields.targets.shape[1]
    check(n_outputs > 1, "n_outputs", "be at least 2 for diagnostic `collapse`", n_outputs)
    labels, readout = jnp.argmax(fields.targets, axis=1), fields.network.readout
    bias = readout.bias if isinstance(readout, Dense) else None
    found = neural_collapse(fields.traces[-2].act, labels, readout.matrix(), bias)
    return dict(zip(_COLLAPSE, found, strict=True))


@diagnostic({"accuracy": ()})
def accuracy(fields: NetworkFields) -> Float[Array, ""]:
    """Share of training samples whose largest output is that of their largest target.

    Of one output: whose sign is the target's. Ties are up to rounding, such as at a centred start.
    """
    outputs, targets = fields.outputs, fields.targets
    if targets.shape[1] == 1:
        right = (outputs[:, 0] > 0) == (targets[:, 0] > 0)
    else:
        right = jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)
    return jnp.mean(right.astype(outputs.dtype))


def check_weights(fields: NetworkFields, reader: str) -> None:
    """Refuse a first layer that carries no weights.

    Raises:
        InputError: naming the coordinates that have them.
    """
    gram = isinstance(fields.network.layers[0], GramDense)
    told = f"be weights for diagnostic `{reader}`, which reads the first layer's"
    check(not gram, "coordinates", told, "gram")


def _parts(fields: NetworkFields, i: int) -> tuple[Array, Array, Array]:
    """Weights, inputs and dL/dZ of a layer."""
    inputs = fields.traces[i].inputs
    assert inputs is not None
    return fields.network.layers[i].matrix(), inputs, fields.loss_scale * fields.drives[i]
