"""The parts of a configuration: typed models, each checked by itself."""

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gramdyn._checks import nearest
from gramdyn.models.activations import ACTIVATIONS
from gramdyn.models.balanced import INITS
from gramdyn.models.enriched import MODES
from gramdyn.models.enriched_network import ALPHAS, EMBEDDINGS
from gramdyn.models.init import PARAMETRIZATIONS
from gramdyn.models.thin import READOUT_LAWS
from gramdyn.plan.kinds import Positive, Strict, of_kind
from gramdyn.systems.losses import LOSSES, REDUCTIONS


def one_of(kind: str, allowed: Any) -> Any:
    """A name among those allowed, read when it is checked, so that registries may grow."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            text = f"unknown {kind} {value!r}; {nearest(str(value), allowed)}"
            raise PydanticCustomError("unknown_name", "{text}", {"text": text})
        return value

    return Annotated[str, BeforeValidator(check)]


def _alpha(value: Any) -> Any:
    if value is None:
        return None
    named = isinstance(value, str)
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good and not (named and value in ALPHAS):
        told = f"must be a finite number or one of {', '.join(ALPHAS)}"
        raise PydanticCustomError("alpha", "{told}", {"told": told})
    return value if named else float(value)


def _biases(value: Any) -> Any:
    listed = isinstance(value, list | tuple)
    good = all(isinstance(one, bool) for one in (value if listed else [value]))
    if not good:
        raise PydanticCustomError("bias", "must be true or false, or one of them a hidden layer")
    return tuple(value) if listed else value


# Keys that only networks of enriched layers have.
ENRICHED = (
    *("pathway", "correction", "mode", "embedding", "embedding_activation"),
    *("alpha", "alpha_each", "train_alpha", "train_pathway"),
)


class NetworkConfig(Strict):
    """A network of dense layers. Give `width` and `depth`, or `widths` layer by layer.

    Attributes:
        kind: "dense"; "residual": hidden layers after the first add what enters them; "vae": two
            dense networks, an encoder of these widths and a decoder with them in reverse;
            "enriched": structured layers between an embedding of the first width and a readout.
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
        pathway: Structure of the matrices of enriched layers, a name or `{kind: ..., options}`;
            orthogonal by default.
        correction: What is added to them, as `pathway`; nothing by default.
        mode: Where it is added: outside the activation, or inside.
        alpha: Gain of the correction, 0.1 by default, or rezero, depth or inverse_depth.
        alpha_each: One gain a neuron in place of one a layer.
        train_alpha: Whether gains train; true by default.
        train_pathway: Whether pathways train; true by default.
        embedding: Whether there is one, and trains: trained, fixed or none.
        embedding_activation: Of the embedding; that of the layers by default.
    """

    kind: Literal["dense", "residual", "convolutional", "vae", "enriched"] = "dense"
    width: Positive | None = None
    depth: Annotated[int, Field(ge=0)] | None = None
    widths: tuple[Positive, ...] | None = Field(default=None, min_length=1)
    activation: one_of("activation", ACTIVATIONS) = "relu"  # type: ignore[valid-type]
    slope: float | None = None
    bias: Annotated[Any, BeforeValidator(_biases)] = False
    readout_bias: bool = False
    readout: Literal["fixed", "trained"] = "fixed"
    parametrization: one_of("parametrization", PARAMETRIZATIONS) = "standard"  # type: ignore[valid-type]
    weight_scale: float = Field(default=1.0, gt=0)
    output_scale: float = Field(default=1.0, gt=0)
    input_scale: float = Field(default=1.0, gt=0)
    init: one_of("init", (*INITS, *READOUT_LAWS)) = "gaussian"  # type: ignore[valid-type]
    signs: tuple[Literal[-1, 1], ...] | None = None
    centred: bool = False
    side: Positive | None = None
    stride: Positive | None = None
    latent: Positive | None = None
    beta: float | None = Field(default=None, ge=0)
    pathway: of_kind("network.pathway") = None  # type: ignore[valid-type]
    correction: of_kind("network.correction") = None  # type: ignore[valid-type]
    mode: one_of("mode", MODES) | None = None  # type: ignore[valid-type]
    alpha: Annotated[float | str | None, BeforeValidator(_alpha)] = None
    alpha_each: bool | None = None
    train_alpha: bool | None = None
    train_pathway: bool | None = None
    embedding: one_of("embedding", EMBEDDINGS) | None = None  # type: ignore[valid-type]
    embedding_activation: one_of("activation", ACTIVATIONS) | None = None  # type: ignore[valid-type]

    @model_validator(mode="before")
    @classmethod
    def _name_parts(cls, data: Any) -> Any:
        """Structured layers have both parts, so that axes may reach into them."""
        if not isinstance(data, dict) or data.get("kind") != "enriched":
            return data
        parts = {"pathway": "orthogonal", "correction": "none"}
        return data | {key: part for key, part in parts.items() if data.get(key) is None}

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
        homes |= dict.fromkeys(ENRICHED, "enriched")
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

    kind: one_of("loss", LOSSES) = "squared"  # type: ignore[valid-type]
    reduction: one_of("reduction", REDUCTIONS) = "sum"  # type: ignore[valid-type]


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
