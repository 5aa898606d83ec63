"""Where and how a sweep runs: devices, memory, and the numbers that are computed with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax

from gramdyn._errors import InputError
from gramdyn.plan.config import Config


@dataclass(frozen=True)
class Runtime:
    """Devices and numbers of a sweep.

    Attributes:
        devices: Local devices the runs are split over.
        dtype: "float32" or "float64".
        memory_bytes: What runs in flight may take: records, work, and the data they share.
        batching: "auto", "map" or "vmap".
    """

    devices: tuple[jax.Device, ...]
    dtype: str
    memory_bytes: int
    batching: str

    @classmethod
    def of(cls, config: Config) -> "Runtime":
        """The runtime a configuration asks for, on this machine.

        Raises:
            InputError: if it asks for more devices than there are.
        """
        local = jax.local_devices()
        wanted = config.runtime.devices or len(local)
        if wanted > len(local):
            raise InputError(f"runtime.devices must be at most {len(local)} here, but is {wanted}.")
        memory = int(config.runtime.memory_gb * 2**30)
        return cls(tuple(local[:wanted]), config.precision, memory, config.runtime.batching)

    @property
    def platform(self) -> str:
        """Kind of the devices, "cpu", "gpu" or "tpu"."""
        return self.devices[0].platform

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Compute in this precision inside the block, whatever the process's own settings."""
        with (
            jax.enable_x64(self.dtype == "float64"),
            # Products in full: a default of TF32 would be another physics.
            jax.default_matmul_precision("highest"),
            # A seed means the same numbers everywhere, and a prefix of more numbers.
            jax.threefry_partitionable(True),
        ):
            yield
