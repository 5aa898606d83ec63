import pytest

from gramdyn import ConfigError, InputError, gaussian
from gramdyn.data.registry import TASKS, register_task
from gramdyn.plan import load_config, parse_config
from gramdyn.plan.config import digest_of

GOOD = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 4}
network: {width: 5, depth: 2}
scheme: {kind: gradient_descent, step_size: {relative: 0.5}, n_steps: 10}
record:
  every: 2
  of: [loss]
sweep:
  seed: {count: 3}
"""


def test_good_file_is_typed_and_filled_in():
    config = parse_config(GOOD)
    assert config.network.layer_widths == (5, 5)
    assert config.network.activation == "relu"
    assert config.task.target == "random"
    assert config.sweep["seed"].values() == [0, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("width: 5", "widht: 5", r"<text>:2: network\.widht: unknown key; did you mean `width`"),
        (
            "width: 5",
            "width: -5",
            r"<text>:2: network\.width: .*greater than or equal to 1 \(got -5\)",
        ),
        ("width: 5", "width: 5.5", r"network\.width: .*integer.*\(got 5\.5\)"),
        (
            "depth: 2",
            "depth: 2, activation: rleu",
            r"unknown activation 'rleu'; did you mean `relu`",
        ),
        ("depth: 2", "depth: 2, slope: 0.1", "`slope` belongs to activation leaky_relu"),
        ("depth: 2", "widths: [3]", "give either `widths`, or `width` and `depth`"),
        (", depth: 2", "", "`width` and `depth` go together"),
        ("kind: gaussian", "kind: gausian", r"<text>:1: task\.kind: .*did you mean `gaussian`"),
        ("n_inputs: 4", "n_input: 4", r"task\.n_input: unknown key; did you mean `n_inputs`"),
        ("n_steps: 10", "n_step: 10", r"scheme\.n_step: unknown key; did you mean `n_steps`"),
        ("kind: gradient_descent", "kind: adam", r"<text>:3: scheme\.kind: unknown scheme 'adam'"),
        ("{relative: 0.5}", "0", r"scheme\.step_size: must be a number above 0 or {relative"),
        ("{relative: 0.5}", ".nan", r"scheme\.step_size"),
        ("depth: 2", "depth: 2, bias: some", r"network\.bias: must be true or false, or"),
        ("depth: 2", "depth: 2, bias: [1, 0]", r"network\.bias: must be true or false, or one of"),
        ("depth: 2", "depth: 2, bias: [true]", "`bias` is one for all hidden layers, or one"),
        ("{count: 3}", "{cout: 3}", r"<text>:8: sweep\.seed: must be a list of values"),
        ("seed: {count", "network.wdth: {count", r"<text>:8: sweep\.network\.wdth: unknown key"),
        ("seed: {count", "precision: {count", r"`precision` cannot be an axis"),
        ("every: 2", "every: 2\n  at: [0, 4]", "give either `every` or `at`"),
        ("task:", "tsk:", r"tsk: unknown key; did you mean `task`"),
    ],
)
def test_each_mistake_is_told_with_its_place(old, new, told):
    assert old in GOOD
    with pytest.raises(ConfigError, match=told):
        parse_config(GOOD.replace(old, new, 1))


def test_all_mistakes_are_told_at_once():
    text = GOOD.replace("width: 5", "width: 0").replace("every: 2", "evry: 2")
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert len(caught.value.mistakes) == 2


def test_broken_yaml_and_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="<text>:1: not YAML"):
        parse_config("task: {kind: [")
    with pytest.raises(ConfigError, match="must be a mapping"):
        parse_config("- 1")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")


def test_changes_set_keys_and_axes():
    config = parse_config(GOOD, changes=["network.width=7", "sweep.network.depth=[1, 2]", "seed=4"])
    assert config.network.width == 7
    assert config.sweep["network.depth"].values() == [1, 2]
    assert config.seed == 4
    with pytest.raises(InputError, match="KEY=VALUE"):
        parse_config(GOOD, changes=["network.width"])
    with pytest.raises(InputError, match="not a mapping"):
        parse_config(GOOD, changes=["network.width.more=1"])


def test_axes_rules():
    text = GOOD.replace("{count: 3}", "{count: 2, start: 5}")
    text += "  network.weight_scale: {logspace: [0.01, 1, 3]}\n"
    text += "  network.output_scale: {linspace: [1, 2, 3]}\n"
    axes = parse_config(text).sweep
    assert axes["seed"].values() == [5, 6]
    assert axes["network.weight_scale"].values() == [0.01, 0.1, 1.0]
    assert axes["network.output_scale"].values() == [1.0, 1.5, 2.0]


def test_digest_is_of_what_changes_numbers():
    plain = parse_config(GOOD)
    other_machine = parse_config(GOOD, changes=["runtime.memory_gb=1"])
    assert plain.digest() == other_machine.digest()
    assert plain.digest() != parse_config(GOOD, changes=["seed=1"]).digest()
    assert plain.digest() == parse_config(GOOD, changes=["network.bias=false"]).digest()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def test_a_registered_task_is_a_kind_with_its_own_keys():
    @register_task("twice_gaussian")
    def twice(*, n_samples: int, gain: float = 2.0):
        task = gaussian(n_samples=n_samples, n_inputs=3)
        return type(task)(gain * task.inputs, task.targets)

    try:
        text = GOOD.replace(
            "{kind: gaussian, n_samples: 6, n_inputs: 4}", "{kind: twice_gaussian, n_samples: 4}"
        )
        assert parse_config(text).task.gain == 2.0
        with pytest.raises(ConfigError, match=r"task\.gian: unknown key; did you mean `gain`"):
            parse_config(text.replace("n_samples: 4", "n_samples: 4, gian: 1"))
    finally:
        del TASKS["twice_gaussian"]
