import math

import numpy as np
import pytest

from gramdyn._checks import check_bool, check_nonnegative, check_real, check_seed
from gramdyn._errors import InputError


def test_good_values_come_back():
    assert check_bool("centre", False) is False
    assert check_seed("seed", 0) == 0
    assert check_nonnegative("noise", 0) == 0.0
    assert check_real("x", [[1, 2]]).dtype == np.float64
    assert check_real("x", 3).shape == ()


@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_words_and_numbers_are_not_true_or_false(value):
    with pytest.raises(InputError, match=r"`centre` must be true or false, but is"):
        check_bool("centre", value)


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None])
def test_bad_seeds(value):
    with pytest.raises(InputError, match=r"`seed` must be a whole number of at least 0, but is"):
        check_seed("seed", value)


@pytest.mark.parametrize("value", [-1e-300, math.inf, math.nan, True, "1", None])
def test_bad_numbers(value):
    with pytest.raises(InputError, match=r"`noise` must be a finite number >= 0, but is"):
        check_nonnegative("noise", value)
