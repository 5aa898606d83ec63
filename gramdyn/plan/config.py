"""The configuration of a sweep: one YAML file, typed, checked whole before anything runs."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from gramdyn.models.balanced import INITS
from gramdyn.models.convolution import LAWS as CONVOLUTION_LAWS
from gramdyn.models.init import PARAMETRIZATIONS
from gramdyn.models.thin import READOUT_LAWS
from gramdyn.plan.axes import Axis
from gramdyn.plan.kinds import HOMES, RelativeStep, Strict, model_of, of_kind
from gramdyn.plan.parts import (
    RUNNING,
    LossConfig,
    NetworkConfig,
    RecordConfig,
    RuntimeConfig,
    one_of,
)
from gramdyn.systems.make import COORDINATES

TaskConfig = of_kind("task")
SchemeConfig = of_kind("scheme")


class Config(Strict):
    """Everything about a sweep. `sweep` maps dotted keys to axes; the rest is one job."""

    task: TaskConfig  # type: ignore[valid-type]
    network: NetworkConfig
    scheme: SchemeConfig  # type: ignore[valid-type]
    loss: LossConfig = LossConfig()
    coordinates: one_of("coordinates", COORDINATES) = "auto"  # type: ignore[valid-type]
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
        elif self.network.kind == "enriched":
            _check_enriched(self)
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


def _check_enriched(config: Config) -> None:
    """Refuse what structured layers have no use for."""
    network = config.network
    plain = {"init": "gaussian", "input_scale": 1.0, "parametrization": "standard"}
    for key, wanted in plain.items():
        if (given := getattr(network, key)) != wanted:
            _refuse(f"network.{key}", f"must be {wanted} with kind enriched, but is {given}")
    if network.depth == 0:
        _refuse("network.depth", "must be at least 1 with kind enriched")
    if isinstance(network.bias, tuple):
        _refuse("network.bias", "must be one for all layers with kind enriched")
    if config.coordinates not in ("auto", "weights") or config.on_population:
        _refuse("coordinates", "must be weights, on samples, with kind enriched")


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
    for i, part in enumerate(path):
        data = data.get(part) if isinstance(data, dict) else None
        model = _model_below(model, ".".join(map(str, path[: i + 1])), part, data)
        if model is None:
            return []
    return list(model.model_fields)


def _model_below(model: type[BaseModel], where: str, key: Any, data: Any) -> type[BaseModel] | None:
    if where in HOMES and isinstance(data, dict):
        kind = data.get("kind")
        return model_of(where, kind) if kind in HOMES[where].registry else None
    field = model.model_fields.get(key)
    inner = field.annotation if field else None
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def digest_of(data: Any) -> str:
    """sha256 over sorted JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
