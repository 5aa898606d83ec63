"""The planted map: targets, samples of one seed, populations that cost nothing, refusals."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import gaussian, planted_map, task_population


@pytest.mark.parametrize(("d", "c"), [(6, 1), (6, 3), (2, 3)])
def test_targets_are_the_map_of_normal_inputs(d, c):
    values = (3.0, 0.5)[: min(d, c)]
    task = planted_map(n_inputs=d, n_outputs=c, singular_values=values, samples_per_input=900.0)
    assert (task.n_samples, task.n_inputs, task.n_outputs) == (900 * d, d, c)
    wanted = np.zeros((c, d))
    np.fill_diagonal(wanted[: len(values), : len(values)], values)
    np.testing.assert_allclose(task.targets, task.inputs @ wanted.T, atol=1e-14)
    # Entries are N(0, 1): mean and variance to four standard errors.
    size = task.inputs.size
    assert abs(task.inputs.mean()) < 4 / np.sqrt(size)
    assert abs(np.mean(task.inputs**2) - 1) < 4 * np.sqrt(2 / size)
    np.testing.assert_array_equal(np.diagonal(task.planted_map)[: len(values)], values)


def test_default_values_are_one_and_missing_ones_zero():
    np.testing.assert_array_equal(planted_map(n_inputs=5, n_outputs=2).planted_map, np.eye(2))
    found = planted_map(n_inputs=5, n_outputs=3, singular_values=(2.0,)).planted_map
    np.testing.assert_array_equal(found, np.diag([2.0, 0.0, 0.0]))


def test_a_larger_ratio_has_the_samples_of_a_smaller_one_first():
    small, large = (planted_map(n_inputs=7, samples_per_input=r, seed=3) for r in (1.5, 4.0))
    assert (small.n_samples, large.n_samples) == (10, 28)
    np.testing.assert_array_equal(small.inputs, large.inputs[:10])
    assert planted_map(n_inputs=7, samples_per_input=0.01).n_samples == 1  # never none
    other = planted_map(n_inputs=7, samples_per_input=4.0, seed=4)
    assert np.all(large.inputs != other.inputs)


def test_a_population_takes_no_memory_whatever_its_inputs():
    task = planted_map(n_inputs=10**6, n_outputs=2)
    assert task.n_samples == 0
    assert task.inputs.nbytes == 0
    population = task_population(task)
    assert population.n_inputs == 10**6
    np.testing.assert_array_equal(population.target, np.eye(2))


def test_casting_keeps_the_map():
    task = planted_map(n_inputs=4, samples_per_input=2.0).cast("float32")
    assert task.planted_map.dtype == np.float32
    assert task.with_gram().planted_map is not None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n_inputs": 0}, "n_inputs"),
        ({"n_outputs": 0}, "n_outputs"),
        ({"samples_per_input": 0.0}, "samples_per_input"),
        ({"singular_values": (0.0,)}, "not be all 0"),
        ({"singular_values": (1.0, 2.0)}, "hold 1 to 1 numbers"),
        ({"singular_values": (-1.0,)}, "singular_values"),
        ({"singular_values": ()}, "hold 1 to 1 numbers"),
        ({"seed": -1}, "seed"),
    ],
)
def test_refusals(options, told):
    with pytest.raises(InputError, match=told):
        planted_map(**{"n_inputs": 5, **options})


def test_other_tasks_have_no_population():
    with pytest.raises(InputError, match="planted_map"):
        task_population(gaussian(n_samples=3, n_inputs=2))
