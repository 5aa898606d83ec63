"""A network drawn inside a wider program has the weights it has in its own."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.models import init_network, make_activation, pad_network
from gramdyn.models.init import PARAMETRIZATIONS, Padded, layer_stds
from gramdyn.models.padding import forget_variances

D = 5
# Own widths and those of the program: one layer, two unlike ones, three of which one is filled up.
CASES = [
    ((7, 4), (9, 8), name, dtype) for name in PARAMETRIZATIONS for dtype in ("float32", "float64")
]
CASES += [((7,), (9,), "ntk", "float64"), ((3, 6, 2), (3, 8, 2), "mean_field", "float64")]


def law_of(own, name, activation, dtype=np.float64):
    stds = layer_stds((D, *own), activation, name)
    return Padded(jnp.asarray(own, jnp.int32), jnp.asarray(stds, dtype))


def assert_same_network(found, own, widths):
    """To the last bit, variances left out: padding forgets them."""
    wanted = forget_variances(pad_network(own, widths))
    assert eqx.tree_equal(found, wanted), (found, wanted)


@pytest.mark.parametrize(("own", "widths", "name", "dtype"), CASES)
def test_drawn_padded_equals_drawn_and_then_padded(key, own, widths, name, dtype):
    activation = make_activation("leaky_relu", 0.3)
    options = {
        "activation": activation,
        "parametrization": name,
        "bias": True,
        "train_readout": True,
        "weight_scale": 1.3,
        "output_scale": 0.7,
        "dtype": getattr(jnp, dtype),
    }
    alone = init_network(key, D, own, 2, **options)
    padded = law_of(own, name, activation, dtype)
    found = init_network(key, D, widths, 2, padded=padded, **options)
    assert_same_network(found, alone, widths)
    # Something was filled up, with zeros, and something was drawn.
    sizes = [int(np.count_nonzero(layer.weight)) for layer in found.layers]
    assert sizes == [math.prod(layer.weight.shape) for layer in alone.layers]


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_one_compiled_program_draws_networks_of_several_widths(key, name):
    activation, widths = make_activation("relu"), (8, 8)
    owns = ((8, 8), (8, 3), (2, 7), (5, 5))
    keys = jax.random.split(key, len(owns))
    scales = jnp.asarray([0.5, 1.0, 1.5, 2.0])
    options = {"parametrization": name, "bias": True}
    laws = [law_of(own, name, activation) for own in owns]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *laws)

    @jax.jit
    @jax.vmap
    def draw(key, scale, padded):
        return init_network(key, D, widths, weight_scale=scale, padded=padded, **options)

    together = draw(keys, scales, stacked)
    for i, own in enumerate(owns):
        alone = init_network(keys[i], D, own, weight_scale=scales[i], **options)
        assert_same_network(jax.tree.map(lambda leaf, i=i: leaf[i], together), alone, widths)


def test_scales_of_the_layers_by_the_law_written_out():
    # fan-ins 10, 4; last width 9; gain 2 of ReLU, 2/(1 + 0.09) of leaky ReLU, 1 of linear
    relu, leaky = make_activation("relu"), make_activation("leaky_relu", 0.3)
    he = (math.sqrt(2 / 10), math.sqrt(2 / 4))
    # one rounding each
    close = {"rel": 1e-15}
    assert layer_stds((10, 4, 9), relu, "standard") == pytest.approx((*he, 1 / 3), **close)
    assert layer_stds((10, 4, 9), relu, "ntk") == pytest.approx((*he, 1 / 3), **close)
    assert layer_stds((10, 4, 9), relu, "mean_field") == pytest.approx((*he, 1 / 9), **close)
    own = (math.sqrt(2 / 1.09 / 10), 1 / 9)
    assert layer_stds((10, 9), leaky, "mean_field") == pytest.approx(own, **close)
    plain = (math.sqrt(1 / 10), 1 / 3)
    assert layer_stds((10, 9), make_activation("linear"), "ntk") == pytest.approx(plain, **close)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_entries_of_a_draw_do_not_depend_on_its_length(key, dtype):
    """What drawing padded networks rests on; a change of jax would be seen here.

    Of `jax_threefry_partitionable`, jax's default since 0.5.
    """
    draw = jax.random.normal(key, (1000,), dtype)
    compiled = jax.jit(jax.random.normal, static_argnums=(1, 2))
    for length in (1, 2, 3, 64, 501, 999):
        np.testing.assert_array_equal(compiled(key, (length,), dtype), draw[:length])
    found = jax.random.normal(key, (3, 5), dtype)  # in rows
    np.testing.assert_array_equal(found.reshape(-1), draw[:15])
