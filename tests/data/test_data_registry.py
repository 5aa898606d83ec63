import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import TASKS, Task, arrays, digits, make_task, mnist5k, register_task

SIZES = {"n_samples": 6, "seed": 1}
OPTIONS = {
    "spirals": {"n_samples": 6},
    "tanh_teacher": {"n_samples": 6, "n_inputs": 3},
    "digits": SIZES,
    "mnist5k": SIZES,
    "gaussian": SIZES | {"n_inputs": 4},
    "linear_map": {"n_inputs": 6, "n_outputs": 3, "singular_values": (2.0, 1.0), "seed": 1},
    "clusters": SIZES | {"n_inputs": 3, "n_classes": 3},
    "modular_addition": {"modulus": 3, "share": 0.7, "seed": 1},
    "monomials": SIZES | {"n_inputs": 3, "terms": [[1], [1, 3]]},
    "swiss_roll": SIZES,
    "orthogonal": SIZES | {"n_inputs": 8},
    "planted_map": {"n_inputs": 4, "samples_per_input": 1.5, "seed": 1},
}


@pytest.fixture
def arrays_file(tmp_path):
    np.savez(tmp_path / "task.npz", inputs=np.ones((6, 2)), targets=np.ones(6))
    return tmp_path / "task.npz"


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_can_be_made_and_carries_its_name(name, arrays_file):
    options = {"path": arrays_file} if name == "arrays" else OPTIONS[name]
    task = TASKS[name](**options)
    assert isinstance(task, Task)
    assert task.name == name
    assert task.n_samples == 6
    assert all(isinstance(value, str | float | int) for _, value in task.notes)
    hash(task.notes)  # static fields of a module must have one


def test_names():
    others = ["gaussian", "linear_map", "mnist5k", "modular_addition", "monomials", "orthogonal"]
    others += ["planted_map", "spirals", "swiss_roll", "tanh_teacher"]
    assert sorted(TASKS) == ["arrays", "clusters", "digits", *others]
    assert TASKS["digits"] is digits
    assert TASKS["mnist5k"] is mnist5k
    assert TASKS["arrays"] is arrays


def test_a_new_task_is_added_under_its_name(monkeypatch):
    monkeypatch.setattr("gramdyn.data.registry.TASKS", dict(TASKS))
    from gramdyn.data import registry

    @register_task("xor")
    def xor() -> Task:
        return make_task([[0, 0], [0, 1], [1, 0], [1, 1]], [-1, 1, 1, -1], name="xor")

    assert registry.TASKS["xor"] is xor
    assert xor().n_samples == 4
    assert "xor" not in TASKS


def test_taken_and_empty_names_are_refused():
    with pytest.raises(
        InputError, match=r"Task `digits` is there already; taken: arrays, clusters, digits"
    ):
        register_task("digits")
    with pytest.raises(InputError, match=r"`name` must not be empty"):
        register_task("")
    assert TASKS["digits"] is digits
