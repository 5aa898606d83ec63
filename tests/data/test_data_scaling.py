import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import centre, norm_each, scale_inputs

INPUTS = np.random.default_rng(0).normal(2.0, 3.0, size=(7, 5))


def test_centre_takes_off_each_feature_mean():
    centred = centre(INPUTS)
    np.testing.assert_allclose(centred.sum(axis=0), 0, atol=1e-13)
    # A second way: the projection that removes the constant vector over samples.
    project = np.eye(7) - 1 / 7
    np.testing.assert_allclose(centred, project @ INPUTS, rtol=1e-12, atol=1e-13)


def test_centre_leaves_constant_features_exactly_zero():
    inputs = np.column_stack([np.full(7, 0.1), INPUTS[:, 0]])
    assert inputs[:, 0].mean() != 0.1  # the plain difference is rounding noise
    assert not centre(inputs)[:, 0].any()


@pytest.mark.parametrize("norm", [1.0, 0.3, 20.0])
def test_scale_inputs_law(norm):
    scaled = scale_inputs(INPUTS, norm)
    assert np.trace(scaled @ scaled.T) / 7 == pytest.approx(norm**2, rel=1e-13)
    ratio = scaled / INPUTS
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-13)
    assert ratio[0, 0] > 0


@pytest.mark.parametrize("norm", [1.0, 0.3, 20.0])
def test_norm_each_law(norm):
    scaled = norm_each(INPUTS, norm)
    np.testing.assert_allclose((scaled**2).sum(axis=1), norm**2, rtol=1e-13)
    cosines = (scaled * INPUTS).sum(axis=1) / np.sqrt((INPUTS**2).sum(axis=1)) / norm
    np.testing.assert_allclose(cosines, 1, rtol=1e-13)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_neither_overflow_nor_vanish(size):
    np.testing.assert_allclose(scale_inputs(INPUTS * size), scale_inputs(INPUTS), rtol=1e-12)
    np.testing.assert_allclose(norm_each(INPUTS * size), norm_each(INPUTS), rtol=1e-12)


def test_inputs_are_left_alone():
    before = INPUTS.copy()
    for function in (centre, scale_inputs, norm_each):
        function(INPUTS)
    np.testing.assert_array_equal(INPUTS, before)


def test_zero_rows():
    inputs = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 1.0]])
    assert np.sum(scale_inputs(inputs, 2.0) ** 2) / 3 == pytest.approx(4)
    with pytest.raises(InputError, match=r"`inputs` must have no row of 0 only, but row 1 is 0\."):
        norm_each(inputs)
    with pytest.raises(InputError, match=r"`inputs` must not be all 0"):
        scale_inputs(np.zeros((2, 3)))


@pytest.mark.parametrize("function", [scale_inputs, norm_each])
@pytest.mark.parametrize("norm", [0.0, -1.0, np.inf, np.nan])
def test_bad_norm(function, norm):
    with pytest.raises(InputError, match=r"`norm` must be a finite number above 0, but is"):
        function(INPUTS, norm)


@pytest.mark.parametrize("function", [centre, scale_inputs, norm_each])
def test_bad_inputs(function):
    with pytest.raises(InputError, match=r"`inputs` must be finite everywhere"):
        function([[1.0, np.nan]])
    with pytest.raises(InputError, match=r"`inputs` must hold at least one sample"):
        function(np.ones((0, 3)))
