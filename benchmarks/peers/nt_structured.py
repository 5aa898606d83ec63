"""neural-tangents: empirical kernels by structured derivatives, by layer, in a Python loop."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import neural_tangents as nt
from jax_jacrev import Kernels, in_steps, output
from problem import Case, Records


def structured_kernels(inputs: Any) -> Kernels:
    """Tangent kernel of each layer, a function of weights and readout."""

    def of_layer(layer: int, weights: list[Any], readout: Any) -> Any:
        def function(weight: Any, inputs: Any) -> Any:
            mixed = [*weights[:layer], weight, *weights[layer + 1 :]]
            return output(mixed, readout, inputs)[:, None]

        kernel = nt.empirical_ntk_fn(
            function, vmap_axes=0, implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES
        )
        return kernel(inputs, None, weights[layer])

    def kernels(weights: list[Any], readout: Any) -> Any:
        return jnp.stack([of_layer(layer, weights, readout) for layer in range(len(weights))])

    return kernels


def prepare(case: Case, dtype: str) -> Callable[[], Records]:
    """The whole work, once a call."""
    return in_steps(case, dtype, structured_kernels)
