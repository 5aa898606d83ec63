"""The configuration of a sweep: one YAML file, typed, checked whole before anything runs."""

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gramdyn._checks import nearest
from gramdyn._types import Scalar
from gramdyn.data.registry import TASKS
from gramdyn.dynamics.registry import SCHEMES
from gramdyn.dynamics.schemes import Step
from gramdyn.models.activations import ACTIVATIONS
from gramdyn.models.balanced import INITS
from gramdyn.models.convolution import LAWS as CONVOLUTION_LAWS
from gramdyn.models.init import PARAMETRIZATIONS
from gramdyn.models.thin import READOUT_LAWS
from gramdyn.plan.axes import Axis
from gramdyn.systems.losses import LOSSES, REDUCTIONS
from gramdyn.systems.make import COORDINATES


class Strict(BaseModel):
    """A part of a configuration: no unknown keys, not changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _one_of(kind: str, allowed: Any) -> Any:
    """A name among those allowed, read when it is checked, so that registries may grow."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            text = f"unknown {kind} {value!r}; {nearest(str(value), allowed)}"
            raise PydanticCustomError("unknown_name", "{text}", {"text": text})
        return value

    return Annotated[str, BeforeValidator(check)]


Positive = Annotated[int, Field(ge=1)]


class RelativeStep(Strict):
    """`{relative: 0.5}`: a share of 1 / (s lambda_max(K(0))) of each run."""

    relative: float = Field(gt=0)


def _step(value: Any) -> Any:
    if isinstance(value, dict | RelativeStep):
        return RelativeStep.model_validate(value)
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not good:
        raise PydanticCustomError("step", "must be a number above 0 or {relative: number}")
    return float(value)


StepSize = Annotated[float | RelativeStep, BeforeValidator(_step)]


def _biases(value: Any) -> Any:
    listed = isinstance(value, list | tuple)
    good = all(isinstance(one, bool) for one in (value if listed else [value]))
    if not good:
        raise PydanticCustomError("bias", "must be true or false, or one of them a hidden layer")
    return tuple(value) if listed else value


class NetworkConfig(Strict):
    """A network of dense layers. Give `width` and `depth`, or `widths` layer by layer.

    Attributes:
        kind: "dense"; "residual": hidden layers after the first add what enters them; "vae": two
            dense networks, an encoder of these widths and a decoder with them in reverse.
        depth: Number of hidden layers; 0 is a linear map alone, in moment coordinates.
        init: "gaussian"; or, for linear networks in moment coordinates, "balanced" (factors of one
            Gaussian map) or "aligned" (factors along the target's singular vectors); or, for both
            layers of a ReLU network on a planted map, a law of the readout beside hidden weights
            N(0, weight_scale^2 / d): "chi", "balanced", "xavier" or "same".
        signs: Signs of the readout of such a start with one output; drawn by default.
        side: Side of the patches of convolutions, odd; 3 by default. Their channels are `widths`.
        stride: Positions from one patch to the next; 1 by default.
        latent: Numbers of an autoencoder's code.
        beta: Factor on the divergence of an autoencoder's codes; 1 by default.
    """

    kind: Literal["dense", "residual", "convolutional", "vae"] = "dense"
    width: Positive | None = None
    depth: Annotated[int, Field(ge=0)] | None = None
    widths: tuple[Positive, ...] | None = Field(default=None, min_length=1)
    activation: _one_of("activation", ACTIVATIONS) = "relu"  # type: ignore[valid-type]
    slope: float | None = None
    bias: Annotated[Any, BeforeValidator(_biases)] = False
    readout_bias: bool = False
    readout: Literal["fixed", "trained"] = "fixed"
    parametrization: _one_of("parametrization", PARAMETRIZATIONS) = "standard"  # type: ignore[valid-type]
    weight_scale: float = Field(default=1.0, gt=0)
    output_scale: float = Field(default=1.0, gt=0)
    input_scale: float = Field(default=1.0, gt=0)
    init: _one_of("init", (*INITS, *READOUT_LAWS)) = "gaussian"  # type: ignore[valid-type]
    signs: tuple[Literal[-1, 1], ...] | None = None
    centred: bool = False
    side: Positive | None = None
    stride: Positive | None = None
    latent: Positive | None = None
    beta: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check(self) -> "NetworkConfig":
        if (self.widths is None) == (self.width is None and self.depth is None):
            raise ValueError("give either `widths`, or `width` and `depth`")
        if self.widths is None and (self.width is None or self.depth is None):
            raise ValueError("`width` and `depth` go together")
        if isinstance(self.bias, tuple) and len(self.bias) != len(self.layer_widths):
            raise ValueError("`bias` is one for all hidden layers, or one for each")
        if self.slope is not None and self.activation != "leaky_relu":
            raise ValueError("`slope` belongs to activation leaky_relu")
        if self.kind == "residual" and len(set(self.layer_widths)) > 1:
            raise ValueError("residual layers need equal widths")
        homes = dict.fromkeys(("latent", "beta"), "vae")
        homes |= dict.fromkeys(("side", "stride"), "convolutional")
        for key, home in homes.items():
            if self.kind != home and getattr(self, key) is not None:
                raise ValueError(f"`{key}` belongs to kind {home}")
        if self.depth == 0 and self.readout == "fixed":
            raise ValueError("`depth` 0 has nothing but a readout: set readout: trained")
        return self

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Width of each hidden layer."""
        if self.widths is not None:
            return self.widths
        assert self.width is not None
        assert self.depth is not None
        return (self.width,) * self.depth


class LossConfig(Strict):
    """Loss of outputs and targets."""

    kind: _one_of("loss", LOSSES) = "squared"  # type: ignore[valid-type]
    reduction: _one_of("reduction", REDUCTIONS) = "sum"  # type: ignore[valid-type]


class RecordConfig(Strict):
    """What is recorded and when: every so many steps, or at given ones."""

    of: tuple[str | dict[str, Any], ...] = Field(default=("loss",), min_length=1)
    every: Positive | None = None
    at: tuple[int, ...] | None = None
    average: Positive | None = None

    @model_validator(mode="after")
    def _check(self) -> "RecordConfig":
        if self.every is not None and self.at is not None:
            raise ValueError("give either `every` or `at`")
        for entry in self.of:
            if isinstance(entry, dict) and "name" not in entry:
                raise ValueError(
                    f"an entry of `of` is a name or {{name: ..., options}}, not {entry}"
                )
        return self


# Keys of `runtime` that say where and in which pieces it runs; a folder is compared by what they
# come to, its device and its groups, not by them.
RUNNING = {"devices", "memory_gb", "chunk_runs", "padding"}


class RuntimeConfig(Strict):
    """How it runs; only `diverged_above`, the loss ratio that ends a run, changes results.

    Attributes:
        devices: Devices the runs are split over; all local ones by default.
        memory_gb: What runs in flight may take.
        chunk_runs: Most runs computed and written together, below what memory and time allow.
        batching: One run after the other, all in lockstep, or by platform and size of a step.
        padding: Whether runs of unlike width share a program: where it pays, never, or always.
            Their values are the same up to the last bits.
        diverged_above: Loss, beside its first value, that ends a run.
    """

    devices: Positive | None = None
    memory_gb: float = Field(default=4.0, gt=0)
    chunk_runs: Positive | None = None
    batching: Literal["auto", "map", "vmap"] = "auto"
    padding: Literal["auto", "never", "always"] = "auto"
    diverged_above: float = Field(default=1e6, gt=1)


# Parts whose `kind` names a function of a registry, and the keys they have beside its arguments.
_KINDS: dict[str, tuple[Any, tuple[tuple[str, Any], ...]]] = {
    "task": (TASKS, ()),
    "scheme": (
        SCHEMES,
        (
            ("n_steps", (Annotated[int, Field(ge=1, lt=2**31)], ...)),
            ("batch_size", (Positive | None, None)),
        ),
    ),
}


def _of_kind(home: str) -> Any:
    """A mapping whose `kind` names a function of a registry, its other keys the arguments."""
    registry, extra = _KINDS[home]

    def check(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        known = isinstance(value, dict) and isinstance(value.get("kind"), str)
        if not known or value["kind"] not in registry:
            given = value.get("kind") if isinstance(value, dict) else value
            text = f"unknown {home} {given!r}; {nearest(str(given), registry)}"
            raise PydanticCustomError("unknown_kind", "{text}", {"text": text, "where": "kind"})
        name = value["kind"]
        return _model_of(name, registry[name], extra, home).model_validate(value)

    return Annotated[SerializeAsAny[Strict], BeforeValidator(check)]


# What a file may give where a function takes an array too.
_PLAIN: dict[Any, Any] = {Step: StepSize, Scalar: float, Scalar | None: float | None}


@cache
def _model_of(
    name: str, function: Callable[..., Any], extra: tuple[tuple[str, Any], ...], home: str
) -> type[Strict]:
    """The model of a function's keyword arguments, from its signature."""
    fields: dict[str, Any] = {"kind": (Literal[name], ...), **dict(extra)}
    for param in inspect.signature(function).parameters.values():
        annotation = _PLAIN.get(param.annotation, param.annotation)
        required = param.default is inspect.Parameter.empty
        fields[param.name] = (annotation, ... if required else param.default)
    return create_model(f"{name}_{home}", __base__=Strict, **fields)


TaskConfig = _of_kind("task")
SchemeConfig = _of_kind("scheme")


class Config(Strict):
    """Everything about a sweep. `sweep` maps dotted keys to axes; the rest is one job."""

    task: TaskConfig  # type: ignore[valid-type]
    network: NetworkConfig
    scheme: SchemeConfig  # type: ignore[valid-type]
    loss: LossConfig = LossConfig()
    coordinates: _one_of("coordinates", COORDINATES) = "auto"  # type: ignore[valid-type]
    record: RecordConfig = RecordConfig()
    precision: Literal["float32", "float64"] = "float32"
    seed: int = Field(default=0, ge=0, lt=2**31)
    runtime: RuntimeConfig = RuntimeConfig()
    sweep: dict[str, Axis] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> "Config":
        if self.batch_size is not None:
            _check_batches(self)
        if self.network.signs is not None and not self.starts_thin:
            laws = ", ".join(READOUT_LAWS)
            _refuse("network.signs", f"belong to both layers of a planted map, with init {laws}")
        if self.network.kind == "vae":
            _check_vae(self)
        elif self.network.kind == "convolutional":
            _check_convolutional(self)
        elif self.coordinates == "moments":
            _check_moments(self.network, self.loss)
        elif self.on_population or self.starts_thin:
            _check_planted(self)
        elif self.network.init != "gaussian":
            _refuse("network.init", f"{self.network.init} needs coordinates: moments")
        elif self.network.depth == 0:
            _refuse("network.depth", "0 needs coordinates: moments")
        return self

    @property
    def batch_size(self) -> int | None:
        """Samples of a mini-batch, None where each step sees all of them."""
        found: int | None = self.scheme.batch_size  # type: ignore[attr-defined]
        return found

    @property
    def on_population(self) -> bool:
        """Whether systems see all inputs at once: in thin coordinates, and a task without samples.

        That is what coordinates "auto" mean for one.
        """
        if self.coordinates != "auto":
            return bool(self.coordinates == "thin")
        return getattr(self.task, "samples_per_input", 0.0) is None

    @property
    def starts_thin(self) -> bool:
        """Whether both layers are drawn in the frame of a planted map; "balanced" has two laws."""
        return self.network.init in READOUT_LAWS and self.coordinates != "moments"

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain data, defaults filled in."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """sha256 over the resolved configuration without what changes no number."""
        return digest_of(self.model_dump(mode="json", exclude={"runtime": RUNNING}))


def _check_batches(config: Config) -> None:
    """Refuse mini-batches where a step is no gradient of samples."""
    if (kind := config.scheme.kind) == "gradient_flow":  # type: ignore[attr-defined]
        _refuse("scheme.batch_size", f"must be left out with scheme.kind {kind}")
    if config.on_population or config.coordinates not in ("auto", "weights"):
        _refuse("coordinates", f"must be weights for mini-batches, but is {config.coordinates}")


def _check_vae(config: Config) -> None:
    """Refuse what a variational autoencoder has no use for, or cannot do."""
    network, scheme = config.network, config.scheme
    if network.latent is None:
        _refuse("network.latent", "must be given with kind vae")
    if network.depth == 0:
        _refuse("network.depth", "must be at least 1 with kind vae")
    for key, wanted in {"readout": "trained", "centred": False, "init": "gaussian"}.items():
        if (given := getattr(network, key)) != wanted:
            _refuse(f"network.{key}", f"must be {wanted} with kind vae, but is {given}")
    for key, value in LossConfig():
        if (given := getattr(config.loss, key)) != value:
            _refuse(
                f"loss.{key}", f"must be left out with kind vae, whose loss is its own: {given}"
            )
    if config.coordinates not in ("auto", "weights"):
        _refuse("coordinates", f"must be weights with kind vae, but is {config.coordinates}")
    if config.on_population:
        _refuse("task.kind", "must be one with samples for kind vae")
    if scheme.kind == "gradient_flow":  # type: ignore[attr-defined]
        _refuse("scheme.kind", "must not be gradient_flow with kind vae: each step has its noise")
    if isinstance(getattr(scheme, "step_size", None), RelativeStep):
        _refuse("scheme.step_size", "must be a number with kind vae, which has no tangent kernel")


def _check_convolutional(config: Config) -> None:
    """Refuse what convolutions have no use for."""
    network = config.network
    plain = {"init": "gaussian", "input_scale": 1.0}
    for key, wanted in plain.items():
        if (given := getattr(network, key)) != wanted:
            _refuse(f"network.{key}", f"must be {wanted} with kind convolutional, but is {given}")
    if network.depth == 0:
        _refuse("network.depth", "must be at least 1 with kind convolutional")
    if isinstance(network.bias, tuple):
        _refuse("network.bias", "must be one for all layers with kind convolutional")
    if network.parametrization not in CONVOLUTION_LAWS:
        told = f"must be one of {', '.join(CONVOLUTION_LAWS)} with kind convolutional"
        _refuse("network.parametrization", told)
    if network.side is not None and network.side % 2 == 0:
        _refuse("network.side", f"must be odd, but is {network.side}")
    if config.coordinates not in ("auto", "weights") or config.on_population:
        _refuse("coordinates", "must be weights, on samples, with kind convolutional")


def _check_moments(network: NetworkConfig, loss: LossConfig) -> None:
    """Refuse what is no linear network under squared loss, or no start of one."""
    needs = "coordinates moments need a linear network without bias or centring"
    wanted_of = {"activation": "linear", "kind": "dense", "centred": False}
    for key, wanted in (wanted_of | dict.fromkeys(("bias", "readout_bias"), False)).items():
        if (given := getattr(network, key)) != wanted:
            _refuse(f"network.{key}", f"{needs}, but this is {given}")
    if loss.kind != "squared":
        _refuse("loss.kind", f"coordinates moments need a squared loss, but this is {loss.kind}")
    if network.init == "aligned":
        # Its entries are weight_scale itself; what else scales a start would do nothing.
        if network.parametrization != "unscaled":
            _refuse("network.init", "aligned needs parametrization: unscaled")
        for key in ("output_scale", "input_scale"):
            if getattr(network, key) != 1.0:
                _refuse(f"network.{key}", "must be left out with init aligned")
    plain = sorted(
        name for name, law in PARAMETRIZATIONS.items() if not (law.multiplier or law.divided)
    )
    if network.init == "balanced" and network.parametrization not in plain:
        told = f"balanced needs a parametrization without multipliers: {', '.join(plain)}"
        _refuse("network.init", told)


def _check_planted(config: Config) -> None:
    """Refuse what does not learn both layers of a planted map, or keys that would do nothing."""
    network, task = config.network, config.task
    if (kind := task.kind) != "planted_map":  # type: ignore[attr-defined]
        if config.on_population:
            _refuse("task.kind", f"must be planted_map for coordinates thin, but is {kind}")
        other = "coordinates: moments or " if network.init in INITS else ""
        _refuse("network.init", f"{network.init} needs {other}task.kind: planted_map")
    if network.init not in READOUT_LAWS:
        other = "" if config.coordinates == "thin" else " without task.samples_per_input"
        laws = ", ".join(READOUT_LAWS)
        _refuse("network.init", f"must be one of {laws}{other}, but is {network.init}")
    needs = f"init {network.init} needs one layer of ReLU and a readout, both trained, no more"
    plain = NetworkConfig(width=1, depth=1, readout="trained")
    keys = ("kind", "activation", "bias", "readout_bias", "readout", "centred")
    for key in (*keys, "parametrization", "output_scale", "input_scale"):
        if (given := getattr(network, key)) != (wanted := getattr(plain, key)):
            _refuse(f"network.{key}", f"{needs}: must be {wanted}, but is {given}")
    if len(network.layer_widths) != 1:
        _refuse("network.depth", f"{needs}: must be 1, but is {len(network.layer_widths)}")
    if config.precision == "float32" and network.weight_scale < 1e-17:
        # Squares of norms underflow there, and such rows are dead.
        _refuse("network.weight_scale", "must be at least 1e-17 in float32; set precision: float64")
    if config.on_population and config.loss.kind != "squared":
        _refuse("loss.kind", f"must be squared in coordinates thin, but is {config.loss.kind}")
    if config.on_population and config.loss.reduction != "mean":
        _refuse("loss.reduction", "must be mean in coordinates thin, as the population's is")


def _refuse(where: str, text: str) -> NoReturn:
    """Tell what is wrong with a dotted key, seen from the top."""
    raise PydanticCustomError("unfit", "{text}", {"text": text, "where": where})


def known_keys(path: Sequence[Any], data: Any) -> list[str]:
    """Keys that a configuration may have below a path of keys, as far as its kinds are known."""
    model: Any = Config
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
        model = _model_below(model, part, data)
        if model is None:
            return []
    return list(model.model_fields)


def _model_below(model: type[BaseModel], key: Any, data: Any) -> type[BaseModel] | None:
    if model is Config and key in _KINDS and isinstance(data, dict):
        registry, extra = _KINDS[key]
        kind = data.get("kind")
        return _model_of(kind, registry[kind], extra, key) if kind in registry else None
    field = model.model_fields.get(key)
    inner = field.annotation if field else None
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def digest_of(data: Any) -> str:
    """sha256 over sorted JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def float_keys(scheme: Strict) -> tuple[str, ...]:
    """Keys of a scheme's configuration that hold floats, so that they may be array axes."""
    given = {name: field.annotation for name, field in type(scheme).model_fields.items()}
    return tuple(name for name, kind in given.items() if kind is float or float in get_args(kind))
