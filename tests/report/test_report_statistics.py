import numpy as np
import pytest

from gramdyn.report.statistics import (
    StepAxis,
    band_over_seeds,
    fit_power_law,
    log_ticks,
    thin_steps,
)


@pytest.mark.parametrize("slope", [-0.71, 0.0, 2.0])
def test_slope_of_an_exact_power_law(slope):
    x = np.array([32.0, 64.0, 200.0, 1024.0])
    law = fit_power_law(x, 3.0 * x**slope)
    assert abs(law.slope - slope) < 1e-12
    assert abs(law.factor - 3.0) < 1e-11
    np.testing.assert_allclose(law(x), 3.0 * x**slope, rtol=1e-12)


def test_slope_is_least_squares():
    rng = np.random.default_rng(0)
    x, y = np.array([1.0, 2.0, 4.0, 8.0]), np.exp(rng.normal(size=4))
    slope, cut = np.polyfit(np.log(x), np.log(y), 1)
    law = fit_power_law(x, y)
    np.testing.assert_allclose([law.slope, np.log(law.factor)], [slope, cut], rtol=1e-11)


@pytest.mark.parametrize(
    ("x", "y"), [([4.0], [1.0]), ([4.0, 4.0], [1.0, 2.0]), ([2.0, 4.0], [0.0, 1.0])]
)
def test_no_slope_from_one_place(x, y):
    assert fit_power_law(np.array(x), np.array(y)) is None


def test_band_is_numpy_quantiles():
    values = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    band = band_over_seeds(values)
    wide = values.astype(np.float64)
    np.testing.assert_array_equal(band.mid, np.median(wide, axis=0))
    np.testing.assert_allclose(band.low, np.percentile(wide, 10, axis=0), rtol=1e-14)
    np.testing.assert_allclose(band.high, np.percentile(wide, 90, axis=0), rtol=1e-14)


def test_thinning_keeps_the_ends_and_spreads_in_the_logarithm():
    steps = np.arange(0, 100_001, 10)
    kept = thin_steps(steps)
    assert kept[0] == 0
    assert kept[-1] == len(steps) - 1
    assert 75 < len(kept) <= 150
    assert np.all(np.diff(kept) > 0)
    assert np.diff(steps[kept])[-1] > 50 * np.diff(steps[kept])[0]


def test_few_steps_are_all_kept():
    np.testing.assert_array_equal(thin_steps(np.arange(150)), np.arange(150))


def test_step_zero_has_a_place_and_a_label():
    axis = StepAxis.of([np.array([0, 10, 20, 5000])])
    places = axis.place(np.array([0, 10, 5000]))
    assert np.all(places > 0)
    assert np.all(np.diff(places) > 0)
    assert axis.ticks()[0] == 0
    assert axis.ticks()[-1] <= 5000


@pytest.mark.parametrize(("low", "high"), [(1e-30, 1.0), (0.3, 40.0), (1.01, 1.3), (0.07, 0.15)])
def test_labels_of_a_log_axis_are_few_but_enough(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(ticks)
