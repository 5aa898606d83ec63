"""Checks of the laws of feature learning: the equation of gradient and features, weight Grams.

A layer maps inputs H, one sample a row, to Z = H W^T + b; D = dL/dZ, and G = D W is the gradient of
the loss by H through W alone. A forward multiplier is in D W and in the gradient of the weights
alike, so W^T g and the step of W^T W are those of the trained weights themselves.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.dynamics import GradientDescent, Optax
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.kernels.compare import frobenius
from gramdyn.laws.moment import Moment, compare, worst
from gramdyn.laws.registry import Found, law
from gramdyn.models.layers import Dense, Trace
from gramdyn.models.network import Network
from gramdyn.systems import NetworkSystem

FEATURES = "arXiv 2605.06258"


def _responses(system: NetworkSystem, network: Network) -> tuple[list[Array], list[Array]]:
    """G and D of every layer, by autodiff through what is added inside of it.

    Added to what enters the weights alone, so that in a residual layer G has the part through W.
    """

    def loss(entering: list[Array], pres: list[Array]) -> Float[Array, ""]:
        act = system.inputs
        for layer, one, two in zip(network.layers, entering, pres, strict=True):
            own = layer.activation.value(layer.forward(act + one).pre + two)
            act = act + own if layer.skips else own
        outputs = act if system.offset is None else act - system.offset
        return system.loss.value(outputs, system.targets)

    traces = network.traces(system.inputs)
    entering = [jnp.zeros_like(_entered(trace)) for trace in traces]
    pres = [jnp.zeros_like(trace.pre) for trace in traces]
    return jax.grad(loss, argnums=(0, 1))(entering, pres)


def _entered(trace: Trace) -> Float[Array, "n M"]:
    assert trace.inputs is not None
    return trace.inputs


def _dense(network: Network, i: int) -> Dense:
    layer = network.layers[i]
    assert isinstance(layer, Dense)
    return layer


def _all_dense(network: Network, scheme: AbstractScheme) -> bool:
    return all(isinstance(layer, Dense) for layer in network.layers)


@law("feature learning equation", needs="grams", source=FEATURES, applies=_all_dense)
def learning_equation(moment: Moment) -> Found:
    """W^T g = sum_mu G_mu h_mu^T of each trained layer, g the library's gradient.

    With a bias its blocks too, W^T dL/db = sum G, b^T g = sum (b.D) h^T, b.dL/db = sum b.D, and
    the centred form W^T (g - dL/db hbar^T) = sum (G - Gbar)(h - hbar)^T.
    """
    fields, (pulled, sens) = moment.fields, _responses(moment.system, moment.system.start)
    gradient, other = fields.gradient(), moment.other.gradient()
    errors = []
    for i in fields.trained:
        layer, inputs = _dense(fields.network, i), _entered(fields.traces[i])
        left, sizes = (_weight_side(layer, _dense(one, i), inputs) for one in (gradient, other))
        sizes = _of_terms(sizes, layer, _dense(other, i))
        errors.append(compare(left, _sample_side(layer, inputs, pulled[i], sens[i]), sizes))
    return Found(worst(errors))


def _weight_side(layer: Dense, gradient: Dense, inputs: Float[Array, "n M"]) -> list[Array]:
    """W^T g; with a bias W^T dL/db, b^T g, b.dL/db and the centred W^T g as well."""
    whole = layer.weight.T @ gradient.weight
    if layer.bias is None:
        return [whole]
    assert gradient.bias is not None
    along = layer.matrix().T @ gradient.bias
    centred = whole - along[:, None] * jnp.mean(inputs, axis=0)[None, :]
    return [whole, along, layer.bias @ gradient.weight, layer.bias @ gradient.bias, centred]


def _of_terms(sizes: list[Array], layer: Dense, gradient: Dense) -> list[Array]:
    """Sizes of the terms where they may cancel: in products with b, and in the centred form."""
    if layer.bias is None:
        return sizes
    assert gradient.bias is not None
    whole, along, *_ = sizes
    length = frobenius(layer.bias)
    return [whole, along, length * gradient.weight, length * gradient.bias, whole]


def _sample_side(
    layer: Dense,
    inputs: Float[Array, "n M"],
    pulled: Float[Array, "n M"],
    sens: Float[Array, "n N"],
) -> list[Array]:
    """The same by sums over samples."""
    whole = pulled.T @ inputs
    if layer.bias is None:
        return [whole]
    along = sens @ layer.bias
    seen = along @ inputs if layer.scale is None else layer.scale * (along @ inputs)
    means = [jnp.mean(rows, axis=0, keepdims=True) for rows in (pulled, inputs)]
    centred = (pulled - means[0]).T @ (inputs - means[1])
    return [whole, jnp.sum(pulled, axis=0), seen, jnp.sum(along), centred]


def _excuse(network: Network, scheme: AbstractScheme) -> str:
    """Why the scheme's steps have no law of the weight Gram; "" where they have."""
    if scheme.is_descent or _is_sgd(scheme):
        return ""
    if isinstance(scheme, Optax):
        return _excuse_of_optax(scheme)
    if not isinstance(scheme, GradientDescent):
        return f"a step of {type(scheme).__name__} is not one of gradient descent"
    if scheme.weight_decay is not None:
        return "weight decay moves W^T W beside D^T H"
    fixed = not network.layers[0].trainable
    return "momentum has a law for the first layer alone, which is fixed" if fixed else ""


def _excuse_of_optax(scheme: Optax) -> str:
    name = scheme.make if isinstance(scheme.make, str) else "this optimiser"
    if scheme.whitening != "none":
        return f"whitened steps of {name} are not of the form D^T H"
    if name == "sgd":
        return f"steps of sgd with {scheme.options[0][0]} hold more than the last gradient"
    return f"steps of {name} are not of the form D^T H"


def _is_sgd(scheme: AbstractScheme) -> bool:
    """Whether it is plain gradient descent of optax."""
    if not isinstance(scheme, Optax):
        return False
    return scheme.make == "sgd" and not scheme.options and scheme.whitening == "none"


def _has_gram_step(network: Network, scheme: AbstractScheme) -> bool:
    return _all_dense(network, scheme) and not _excuse(network, scheme)


@law(
    "weight Gram after one step",
    needs="grams",
    source=FEATURES,
    reason="rounding of the squares, in units of their size",
    applies=_has_gram_step,
    excuse=lambda network, scheme: _excuse(network, scheme) if _all_dense(network, scheme) else "",
)
def gram_step(moment: Moment) -> Found:
    """W+^T W+ - W^T W = -eta (A + A^T) + eta^2 g^T g, with A = G^T H and g = D^T H.

    The step is the scheme's own, D by autodiff. With momentum the law is that of the first layer,
    whose inputs stand still, with the sum of past D in place of D and G = D W by the present W:
    checked in the second step from rest.
    """
    scheme, system, network = moment.scheme, moment.system, moment.system.start
    momentum = scheme.momentum if isinstance(scheme, GradientDescent) else None
    state, memory = scheme.step(system, moment.state, scheme.init(moment.state), moment.fields)
    after, (_, sens) = moment.network(state), _responses(system, network)
    if momentum is None:
        return Found(
            worst([_gap(moment, network, after, i, sens[i]) for i in moment.fields.trained])
        )
    state, _ = scheme.step(system, state, memory, system.fields(state))
    past = momentum * sens[0] + _responses(system, after)[1][0]
    return Found(_gap(moment, after, moment.network(state), 0, past))


def _gap(
    moment: Moment, before: Network, after: Network, i: int, sens: Float[Array, "n N"]
) -> Float[Array, ""]:
    """How far the Gram of layer i is from where the law has it, in units of the squares."""
    layer, moved, step = _dense(before, i), _dense(after, i), jnp.asarray(moment.scheme.step_size)
    inputs = _entered(before.traces(moment.system.inputs)[i])
    now, then = (one.weight.T @ one.weight for one in (layer, moved))
    gap = then - now - _told_change(layer, step, inputs, sens)
    size = frobenius(now) + frobenius(then)
    return frobenius(gap) / jnp.maximum(size, jnp.finfo(size.dtype).tiny)


def _told_change(
    layer: Dense, step: Scalar, inputs: Float[Array, "n M"], sens: Float[Array, "n N"]
) -> Float[Array, "M *M"]:
    """-eta (A + A^T) + eta^2 g^T g."""
    gradient = sens.T @ inputs if layer.scale is None else layer.scale * (sens.T @ inputs)
    cross = (sens @ layer.matrix()).T @ inputs
    return -step * (cross + cross.T) + step**2 * (gradient.T @ gradient)
