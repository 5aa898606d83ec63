"""Diagnostics of weight Grams: what moves them, and what moves like them.

They read a layer's weights, so they need a first layer in weight coordinates, and matrices that
are themselves what trains: a structured one moves by another law. A layer's forward multiplier
counts as part of its weights.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from gramdyn._checks import check, check_bool, check_known, check_positive
from gramdyn._types import Scalar
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.target_linearity import target_linearity
from gramdyn.kernels.weight_gram import (
    CONVENTIONS,
    alike,
    centred,
    gram_against_centred,
    gram_against_virtual,
    gram_products,
    second_order_weight,
    step_against_moment,
    virtual_change,
    weight_gram_change,
    with_bias,
)
from gramdyn.kernels.weight_gram import learning_equation as sides_of
from gramdyn.models.layers import Dense
from gramdyn.systems.network_fields import NetworkFields


def check_weights(fields: NetworkFields, reader: str) -> None:
    """Refuse a first layer that carries no weights.

    Raises:
        InputError: naming the coordinates that have them.
    """
    told = f"be weights for diagnostic `{reader}`, which reads the first layer's"
    check(fields.inputs is not None, "coordinates", told, "gram")


def check_free(fields: NetworkFields, reader: str) -> None:
    """Refuse layers that carry no weights, and matrices that are made of what trains.

    Raises:
        InputError: naming the diagnostic.
    """
    check_weights(fields, reader)
    told = f"have free matrices for diagnostic `{reader}`, whose laws are theirs"
    check(fields.network.free, "network", told, "one of structured layers")


def check_descent(scheme: Any, reader: str) -> None:
    """Refuse steps that are not those of plain gradient descent.

    Raises:
        InputError: naming the diagnostic.
    """
    check(scheme.is_descent, "scheme", f"be gradient descent for {reader}", scheme)


def parts_of(fields: NetworkFields, i: int) -> tuple[Array, Array, Array]:
    """Weights, inputs and dL/dZ of a layer: one row a sample, or a sample and position."""
    inputs, layer = fields.traces[i].inputs, fields.network.layers[i]
    assert inputs is not None
    sens = layer.sens_rows(fields.loss_scale * fields.drives[i][:, None, :])[:, 0]
    return layer.matrix(), layer.rows(inputs), sens


def _step_of(fields: NetworkFields, i: int, eta: Scalar) -> Scalar:
    """Step size of `matrix()` of a layer for that of its weights."""
    layer = fields.network.layers[i]
    scale = layer.scale if isinstance(layer, Dense) and layer.scale is not None else None
    return eta if scale is None else eta * scale**2


def _stacked(found: list[dict[str, Array]], prefix: str) -> dict[str, Array]:
    return {f"{prefix}_{name}": jnp.stack([one[name] for one in found]) for name in found[0]}


_EQUATION = ("learning_equation", "learning_centred", "learning_weights", "learning_features")


@diagnostic(dict.fromkeys((*_EQUATION, "learning_trace"), ("layer",)))
def learning_equation(fields: NetworkFields) -> dict[str, Array]:
    """The feature learning equation W^T g = G^T H of each trained layer, at any time, on any batch.

    g is the gradient that the step is made by, G made of the sensitivities. `learning_equation`,
    the relative error, is rounding; so is `learning_centred`, that of the inputs and sensitivities
    less their means. `learning_weights` = |W^T g|_F and `learning_features` = |G^T H|_F are its
    sides, `learning_trace` = tr(G^T H). A layer with a bias is taken as [W b] on (h, 1), so that
    the bias is part of the equation.

    Raises:
        InputError: for a first layer in Gram coordinates, or structured layers.
    """
    check_free(fields, "learning_equation")
    found, gradients = [], fields.trained_on.gradient()
    for i in fields.trained:
        weight, inputs, sens = parts_of(fields.trained_on, i)
        layer: Any = fields.network.layers[i]
        gradient, shift = _gradient_of(layer, gradients.layers[i])
        mean = jnp.mean(inputs, axis=0, keepdims=True)
        less = gradient - jnp.sum(sens, axis=0)[:, None] * mean
        middle = sides_of(weight, centred(inputs), centred(sens), less).error
        if shift is not None:
            weight, inputs = with_bias(weight, layer.bias, inputs)
            gradient = jnp.concatenate([gradient, shift[:, None]], axis=1)
        sides = sides_of(weight, inputs, sens, gradient)
        found.append((sides.error, middle, sides.weights, sides.features, sides.trace))
    columns = [jnp.stack(column) for column in zip(*found, strict=True)]
    return dict(zip((*_EQUATION, "learning_trace"), columns, strict=True))


def _gradient_of(layer: Any, gradient: Any) -> tuple[Array, Array | None]:
    """The step's own gradient by `matrix()` and by the bias, None without one."""
    scale = getattr(layer, "scale", None)
    return gradient.weight if scale is None else gradient.weight / scale, gradient.bias


class GramVirtual(AbstractDiagnostic):
    """How alike the next steps of weight Gram and virtual covariance are, in each trained layer.

    Of a step of gradient descent with the run's step size and batch: `gram_cosine` of the two
    changes, and `gram_gap`, the norm of their difference over that of the change of the Gram. They
    agree to first order in the step, unless the covariance is centred. In other conventions the
    names of the arrays end in `_per_sample` and `_centred`.

    Attributes:
        convention: "sum" or "per_sample" (see `gramdyn.kernels.virtual_change`).
        centre: Whether the covariance is that of centred inputs.

    Cost: O(n^2 (M + N)) or O(M^2 (n + N)) operations a layer of N by M, whichever is less.
    """

    convention: str = eqx.field(static=True, default="sum")
    centre: bool = eqx.field(static=True, default=False)
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Neurons without weights have neither gradients nor Grams."""
        return True

    @property
    def suffix(self) -> str:
        """What the names of its arrays end in: the convention where it is not the usual one."""
        parts = ("" if self.convention == "sum" else "_per_sample", "_centred" * self.centre)
        return "".join(parts)

    @property
    def name(self) -> str:
        """Its own in each convention, so that several can be recorded beside each other."""
        return f"gram_virtual{self.suffix}"

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {f"gram_{what}{self.suffix}": ("layer",) for what in ("cosine", "gap")}

    def start(self, fields: NetworkFields, scheme: Any) -> Scalar:
        """The step size.

        Raises:
            InputError: for a first layer in Gram coordinates, structured layers, or a scheme other
                than descent.
        """
        check_free(fields, self.name)
        check_descent(scheme, self.name)
        return jnp.asarray(scheme.step_size)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Of the step from here."""
        found = []
        for i in fields.trained:
            weight, inputs, sens = parts_of(fields.trained_on, i)
            eta, pulled = _step_of(fields, i, memory), sens @ weight
            second = second_order_weight(self.convention, len(inputs))
            if self.centre:
                found.append(gram_against_centred(inputs, sens, pulled, eta, second))
            else:
                products = gram_products(inputs, sens, pulled)
                found.append(gram_against_virtual(products, eta, second))
        told = _stacked(found, "gram")
        return {f"{name}{self.suffix}": array for name, array in told.items()}, memory


@register("gram_virtual")
def make_gram_virtual(convention: str = "sum", centre: bool = False) -> GramVirtual:
    """Cosine and gap of the changes of weight Gram and virtual covariance in the next step."""
    check_known("convention", convention, CONVENTIONS)
    return GramVirtual(convention, check_bool("centre", centre))


Parts = tuple[tuple[Array, Array, Array], ...]


@register("gram_step")
class GramStep(AbstractDiagnostic):
    """What the last step, of whatever optimiser, did to each trained layer's weight Gram.

    `gram_step_cosine` of its change with -(A + A^T), A = G^T H of the samples the step was made on:
    1 up to second order for gradient descent, a measurement for all others. It is that of the step
    the stored weights made: its rounding, eps |W| / |U| of it, is in it. `gram_step_size` is the
    norm of the change, `gram_step_second` the share of the second-order term U^T U in it. At t = 0
    nothing has changed yet, and all are 0.

    Cost: the fields of one step are kept, n (M + N) + N M numbers a layer, and O(M^2 (n + N))
        operations at saved times, or O((n + N)^2 M) where those are fewer.
    """

    name: ClassVar[str] = "gram_step"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Neurons without weights have neither gradients nor Grams."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        names = ("gram_step_cosine", "gram_step_size", "gram_step_second")
        return dict.fromkeys(names, ("layer",))

    def start(self, fields: NetworkFields, scheme: Any) -> Parts:
        """What the first step is made on.

        Raises:
            InputError: for a first layer in Gram coordinates, or structured layers.
        """
        check_free(fields, self.name)
        return self._parts(fields)

    def _parts(self, fields: NetworkFields) -> Parts:
        return tuple(parts_of(fields.trained_on, i) for i in fields.trained)

    def step(self, memory: Parts, fields: NetworkFields, left: Any) -> Parts:
        """What the next step is made on."""
        return self._parts(fields)

    def observe(self, memory: Parts, fields: NetworkFields) -> tuple[dict[str, Array], Parts]:
        """Of the step before, and what the next one is made on."""
        parts = self._parts(fields)
        found = [
            step_against_moment(weight, after - weight, inputs, sens @ weight)
            for (weight, inputs, sens), (after, _, _) in zip(memory, parts, strict=True)
        ]
        return _stacked(found, "gram_step"), parts


Cumulated = tuple[Scalar, tuple[Array, ...], tuple[Array, ...], Array]


@register("gram_cumulative")
class GramCumulative(AbstractDiagnostic):
    """How alike weight Grams and virtual covariances have moved since the start, under descent.

    `sum_cosine` and `sum_gap` of M(t) - M(0) and the sum of the one-step changes of the virtual
    covariance, inputs read anew in each step: they agree in the limit of small steps.
    `cloud_cosine` and `cloud_gap` compare the first layer's Gram with the covariance of one
    accumulated cloud, X - eta (sum of G), whose second order does not vanish with the step. The
    Gram's side is that of the stored weights, with their rounding: take float64 for small steps.

    Cost: M (M + N) numbers a layer and n d, and O(M^2 (n + N)) operations a layer and step.
    """

    name: ClassVar[str] = "gram_cumulative"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Neurons without weights have neither gradients nor Grams."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        layers = dict.fromkeys(("sum_cosine", "sum_gap"), ("layer",))
        return layers | {"cloud_cosine": (), "cloud_gap": ()}

    def start(self, fields: NetworkFields, scheme: Any) -> Cumulated:
        """The step, the weights, and nothing summed.

        Raises:
            InputError: for Gram coordinates, structured layers, a scheme other than descent,
                mini-batches, or a first layer that does not train.
        """
        check_free(fields, self.name)
        check_descent(scheme, self.name)
        check(fields.trained_on is fields, "batch_size", f"be left out for {self.name}", "given")
        check(fields.trained[0] == 0, "network", f"train its first layer for {self.name}", "fixed")
        weights = tuple(fields.network.layers[i].matrix() for i in fields.trained)
        sums = tuple(jnp.zeros((w.shape[1],) * 2, w.dtype) for w in weights)
        return jnp.asarray(scheme.step_size), weights, sums, jnp.zeros_like(parts_of(fields, 0)[1])

    def step(self, memory: Cumulated, fields: NetworkFields, left: Any) -> Cumulated:
        """The next step added."""
        eta, weights, sums, cloud = memory
        added = []
        for i, total in zip(fields.trained, sums, strict=True):
            weight, inputs, sens = parts_of(fields, i)
            pulled, step = sens @ weight, _step_of(fields, i, eta)
            cloud = cloud + step * pulled if i == 0 else cloud
            added.append(total + virtual_change(inputs, pulled, step))
        return eta, weights, tuple(added), cloud

    def observe(
        self, memory: Cumulated, fields: NetworkFields
    ) -> tuple[dict[str, Array], Cumulated]:
        """Up to here, and the next step added."""
        _, weights, sums, cloud = memory
        moved = []
        for i, weight in zip(fields.trained, weights, strict=True):
            moved.append(weight_gram_change(weight, fields.network.layers[i].matrix() - weight))
        found = [alike(one, two) for one, two in zip(moved, sums, strict=True)]
        inputs = parts_of(fields, 0)[1]
        whole = alike(moved[0], virtual_change(inputs, cloud, 1.0))
        told = {f"cloud_{name}": value for name, value in whole.items()}
        return _stacked(found, "sum") | told, self.step(memory, fields, None)


class VirtualCloud(AbstractDiagnostic):
    """The inputs moved along their loss gradients of all steps so far, and how linear they are.

    `virtual_cloud` = X - gamma (sum over steps of G), with G the gradient through the first layer's
    weights, and `cloud_linearity`, its Target Linearity. Nothing in the network sees it. G holds
    the 1/n of a mean loss: a move that is seen needs a gamma of some n times a step size.

    Attributes:
        gamma: Step of the virtual inputs.

    Cost: n d numbers, and 2 n d N operations a step.
    """

    gamma: float = eqx.field(static=True)
    name: ClassVar[str] = "virtual_cloud"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {"virtual_cloud": ("sample", "input"), "cloud_linearity": ()}

    def start(self, fields: NetworkFields, scheme: Any) -> Array:
        """The inputs.

        Raises:
            InputError: for Gram coordinates, a structured first layer, or mini-batches.
        """
        check_weights(fields, self.name)
        told = f"begin with a free matrix for diagnostic `{self.name}`"
        check(fields.network.layers[0].free, "network", told, "one of structured layers")
        check(fields.trained_on is fields, "batch_size", f"be left out for {self.name}", "given")
        assert fields.inputs is not None
        return fields.inputs

    def step(self, memory: Array, fields: NetworkFields, left: Any) -> Array:
        """The next step added."""
        sens = fields.loss_scale * fields.drives[0][:, None, :]
        return memory - self.gamma * fields.network.layers[0].pull(sens)[:, 0]

    def observe(self, memory: Array, fields: NetworkFields) -> tuple[dict[str, Array], Array]:
        """Up to here, and the next step added."""
        value = target_linearity(memory, fields.targets).value
        found = {"virtual_cloud": memory, "cloud_linearity": value}
        return found, self.step(memory, fields, None)


@register("virtual_cloud")
def make_virtual_cloud(gamma: float = 1.0) -> VirtualCloud:
    """The inputs moved by gamma times the sum of their loss gradients, and their linearity."""
    return VirtualCloud(check_positive("gamma", gamma))
