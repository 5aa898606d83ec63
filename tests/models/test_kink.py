import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn import leaky_relu, linear, relu


@pytest.mark.parametrize("activation", [relu(), leaky_relu(0.2), linear()], ids=lambda a: a.name)
def test_autodiff_agrees_with_the_mask_at_the_kink_too(activation):
    """A sample whose lower layer is silent has preactivations of exactly 0."""
    pre = jnp.asarray([[-1.0, 0.0, 2.0]])
    slopes = jax.grad(lambda z: jnp.sum(activation.value(z)))(pre)
    np.testing.assert_array_equal(slopes, activation.mask(pre))
