"""Second ways: networks, gradients and descent written out plainly, nothing of gramdyn in them.

A plain network is (params, scales, slope): params holds one pair (weight, bias or None) a layer,
scales one forward multiplier a layer, and slope is the slope of every hidden activation below 0
(0 for ReLU, 1 for linear).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn.models import Network, init_network, make_activation

SLOPES = {"relu": 0.0, "leaky_relu": 0.3, "linear": 1.0}
ACTIVATION_NAMES = tuple(SLOPES)


def random_network(
    key: Any,
    n_inputs: int,
    widths: tuple[int, ...],
    n_outputs: int = 1,
    *,
    activation: str = "relu",
    bias: bool = False,
    **options: Any,
) -> Network:
    """A network of gramdyn; biases are drawn at random, so that they are seen."""
    phi = make_activation(activation, 0.3 if activation == "leaky_relu" else None)
    network = init_network(key, n_inputs, widths, n_outputs, activation=phi, bias=bias, **options)
    if not bias:
        return network
    rng = np.random.default_rng(5)
    layers = [
        with_bias(layer, rng.normal(size=layer.weight.shape[0]) * 0.3)
        for layer in network.layers[:-1]
    ]
    return Network((*layers, network.layers[-1]))


def with_bias(layer: Any, bias: np.ndarray) -> Any:
    """The dense layer with these biases."""
    kind = type(layer)
    bias = jnp.asarray(bias, layer.weight.dtype)
    law = (layer.trainable, layer.weight_variance)
    return kind(layer.weight, bias, layer.scale, layer.activation, *law)


def plain(network: Network, activation: str) -> tuple[list[Any], list[float], float]:
    """(params, scales, slope) of a network of dense layers, as numpy arrays."""
    params = [
        (np.array(layer.weight), None if layer.bias is None else np.array(layer.bias))
        for layer in network.layers
    ]
    scales = [1.0 if layer.scale is None else float(layer.scale) for layer in network.layers]
    return params, scales, SLOPES[activation]


def outputs(params: Any, scales: list[float], slope: float, x: Any) -> Any:
    """Outputs f(x), shape (n, C), for differentiation by params."""
    h = jnp.asarray(x)
    for i, (w, b) in enumerate(params):
        z = scales[i] * (h @ w.T)
        z = z if b is None else z + b[None, :]
        h = jnp.where(z > 0, z, slope * z) if i < len(params) - 1 else z
    return h


def squared_loss(params: Any, scales: Any, slope: float, x: Any, y: Any, s: float) -> Any:
    """s/2 sum (f - y)^2."""
    return 0.5 * s * jnp.sum((outputs(params, scales, slope, x) - y) ** 2)


def autodiff_kernels(params: Any, scales: Any, slope: float, x: Any) -> list[Any]:
    """J_l J_l^T of each layer l, shape (n, C, n, C), from the Jacobian of the outputs."""
    jacobians = jax.jacrev(outputs)(params, scales, slope, x)
    kernels = []
    for layer in jacobians:
        total = 0.0
        for leaf in jax.tree.leaves(layer):
            rows = leaf.reshape(leaf.shape[0], leaf.shape[1], -1)
            total = total + jnp.einsum("mcp,nep->mcne", rows, rows)
        kernels.append(total)
    return kernels


def forward(params: Any, scales: Any, slope: float, x: np.ndarray) -> tuple[list, list]:
    """Inputs and preactivations of each layer, in numpy."""
    inputs, pres, h = [], [], np.asarray(x)
    for i, (w, b) in enumerate(params):
        z = scales[i] * (h @ w.T) + (0.0 if b is None else b[None, :])
        inputs.append(h)
        pres.append(z)
        h = np.where(z > 0, z, slope * z) if i < len(params) - 1 else z
    return inputs, pres


def numpy_gradient(
    params: Any, scales: Any, slope: float, x: np.ndarray, y: np.ndarray, s: float
) -> tuple[list[Any], np.ndarray]:
    """Gradient of the loss by hand, layer by layer, and the residual."""
    inputs, pres = forward(params, scales, slope, x)
    residual = pres[-1] - y
    back, found = s * residual, []
    for i in range(len(params) - 1, -1, -1):
        w, b = params[i]
        if i < len(params) - 1:
            back = back * np.where(pres[i] > 0, 1.0, slope)
        found.append((scales[i] * back.T @ inputs[i], None if b is None else back.sum(axis=0)))
        back = scales[i] * (back @ w)
    return found[::-1], residual


def numpy_descent(
    network: tuple[Any, Any, float],
    x: np.ndarray,
    y: np.ndarray,
    n_steps: int,
    eta: float,
    *,
    s: float = 1.0,
    momentum: float = 0.0,
    decay: float = 0.0,
    trained: list[bool] | None = None,
    rates: list[float] | None = None,
) -> dict[str, Any]:
    """Heavy-ball gradient descent with weight decay as a loop over steps.

    Args:
        rates: Factor on the step of each layer's weights (biases keep the step itself).

    Returns:
        residual (T + 1, n, C), loss (T + 1,), pre (hidden, T + 1, n, N), and params at the end.
    """
    params, scales, slope = network
    params = [list(layer) for layer in params]
    trained = [True] * (len(params) - 1) + [False] if trained is None else trained
    rates = [1.0] * len(params) if rates is None else rates
    buffers = [[None if a is None else np.zeros_like(a) for a in layer] for layer in params]
    residuals, pres = [], []
    for step in range(n_steps + 1):
        gradient, residual = numpy_gradient(params, scales, slope, x, y, s)
        residuals.append(residual)
        pres.append(forward(params, scales, slope, x)[1][:-1])
        if step == n_steps:
            break
        for i, layer in enumerate(params):
            for j in range(2):
                if layer[j] is None or not trained[i]:
                    continue
                buffers[i][j] = momentum * buffers[i][j] - gradient[i][j] - decay * layer[j]
                layer[j] = layer[j] + eta * (rates[i] if j == 0 else 1.0) * buffers[i][j]
    stack = np.stack(residuals)
    return {
        "residual": stack,
        "loss": 0.5 * s * np.sum(stack**2, axis=(1, 2)),
        "pre": [np.stack([step[i] for step in pres]) for i in range(len(params) - 1)],
        "params": params,
    }


def count_flips(pre: np.ndarray) -> np.ndarray:
    """Changes of [pre > 0] from each step to the next, (T,), for pre of shape (T + 1, n, N)."""
    active = pre > 0
    return np.sum(active[1:] != active[:-1], axis=(1, 2))


def relative_error(found: Any, wanted: Any) -> float:
    """|found - wanted|_F / |wanted|_F."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
