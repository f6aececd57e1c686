"""TPU chips: memory, peak rates, topologies, and the roofline model."""

import dataclasses
import math
import re
from typing import NamedTuple

from lstm_gen.platform import errors


class Chip(NamedTuple):
    """Specification of one TPU chip; its devices share memory and peak rates evenly.

    Source: cloud.google.com/tpu/docs, one page per version. Clock rates: v2 to v4 from
    Jouppi et al. 2023 (arXiv 2304.01433); v5e and v5p computed from peak FLOPs and the number
    of multiply-accumulate cells. For v6e that computation gives no plausible clock.

    Attributes:
      devices: TensorFlow replicas per chip: its cores, or 1 where two cores act as one.
      hbm_bytes: HBM capacity, bytes.
      flops_per_second: Peak bfloat16 matrix product rate; float32 products use it too by default.
      bytes_per_second: HBM bandwidth.
      clock_hz: Core clock, Hz; None if unknown.
      smallest: Smallest topology that the compiler accepts.
    """

    devices: int
    hbm_bytes: float
    flops_per_second: float
    bytes_per_second: float
    clock_hz: float | None
    smallest: str


_GIB = 2.0**30
CHIPS = {
    "v2": Chip(2, 16 * _GIB, 45e12, 700e9, 0.70e9, "2x2"),
    "v3": Chip(2, 32 * _GIB, 123e12, 900e9, 0.94e9, "2x2"),
    "v4": Chip(2, 32 * _GIB, 275e12, 1228e9, 1.05e9, "2x2x1"),
    "v5e": Chip(1, 16 * _GIB, 197e12, 819e9, 1.5e9, "2x2"),
    "v5p": Chip(1, 95 * _GIB, 459e12, 2765e9, 1.75e9, "2x2x1"),
    "v6e": Chip(1, 32 * _GIB, 918e12, 1640e9, None, "2x2"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """TPU slice: a number of chips of one version.

    Attributes:
      name: Version and shape, as "v5e:2x2".
      chip: Specification of each chip.
      version: TPU version, as "v5e".
      chips: Number of chips.
    """

    name: str
    chip: Chip
    version: str
    chips: int

    @property
    def devices(self) -> int:
        """Number of replicas; each trains on an equal part of the global batch."""
        return self.chips * self.chip.devices

    @property
    def device_hbm_bytes(self) -> float:
        """HBM capacity of one device, bytes."""
        return self.chip.hbm_bytes / self.chip.devices

    def device_batch(self, batch_size: int) -> int:
        """Return the examples per device of a global batch.

        Raises:
          InputError: If the batch size is not a multiple of the number of devices.
        """
        errors.require(
            batch_size % self.devices == 0,
            f"batch_size must be a multiple of the {self.devices} devices of {self.name}",
            batch_size=batch_size,
        )
        return batch_size // self.devices


def parse(name: str) -> Topology:
    """Return the topology named by version and chips along each axis, as in "v5e:2x2".

    Raises:
      InputError: If the version is unknown or the shape is malformed.
    """
    match = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*){1,2})", name)
    errors.require(
        match is not None and match[1] in CHIPS,
        f"topology must be one of {', '.join(CHIPS)} and the chips along each axis, as in v5e:2x2",
        topology=name,
    )
    version, shape = name.split(":")
    chips = math.prod(int(size) for size in shape.split("x"))
    return Topology(name=name, chip=CHIPS[version], version=version, chips=chips)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """Lower bound on run time: compute and HBM traffic at peak rates, perfectly overlapped.

    Source: Williams, Waterman, Patterson 2009, "Roofline".

    Attributes:
      compute_seconds: FLOPs at the peak rate.
      memory_seconds: HBM traffic at full bandwidth.
    """

    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The bound: the longer of the two times."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """The limiting resource: "compute" or "memory"."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def roofline(chip: Chip, flops: float, hbm_bytes: float) -> Roofline:
    """Return the roofline of one device.

    Args:
      chip: Chip that the device belongs to.
      flops: Floating-point operations.
      hbm_bytes: Bytes read from and written to the HBM.
    """
    return Roofline(
        compute_seconds=flops / (chip.flops_per_second / chip.devices),
        memory_seconds=hbm_bytes / (chip.bytes_per_second / chip.devices),
    )
