"""What TPUs can do, and how fast work could be done at best."""

import dataclasses
import math
import re

from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One chip of a TPU; every figure is the chip's, and its devices share it evenly.

    Source: cloud.google.com/tpu/docs, the pages of each version; clocks of v2 to v4 from
    Jouppi et al. 2023 (arXiv 2304.01433), of v5e and v5p from their peak and the number of
    their multiply-accumulate cells; for v6e that does not come out, so none is given.

    Attributes:
      devices: Replicas that TensorFlow sees on a chip: its cores, unless two work as one.
      hbm_bytes: Memory.
      flops_per_second: Peak of bfloat16 products, which is also how float32 ones are done
        by default.
      bytes_per_second: Between the memory and the cores.
      clock_hz: Of the cores; None if not published.
      smallest: The least topology that the compiler knows.
    """

    devices: int
    hbm_bytes: float
    flops_per_second: float
    bytes_per_second: float
    clock_hz: float | None
    smallest: str


_GIB = 2.0**30
CHIPS = {
    "v2": Chip(
        devices=2,
        hbm_bytes=16 * _GIB,
        flops_per_second=45e12,
        bytes_per_second=700e9,
        clock_hz=0.70e9,
        smallest="2x2",
    ),
    "v3": Chip(
        devices=2,
        hbm_bytes=32 * _GIB,
        flops_per_second=123e12,
        bytes_per_second=900e9,
        clock_hz=0.94e9,
        smallest="2x2",
    ),
    "v4": Chip(
        devices=2,
        hbm_bytes=32 * _GIB,
        flops_per_second=275e12,
        bytes_per_second=1228e9,
        clock_hz=1.05e9,
        smallest="2x2x1",
    ),
    "v5e": Chip(
        devices=1,
        hbm_bytes=16 * _GIB,
        flops_per_second=197e12,
        bytes_per_second=819e9,
        clock_hz=1.5e9,
        smallest="2x2",
    ),
    "v5p": Chip(
        devices=1,
        hbm_bytes=95 * _GIB,
        flops_per_second=459e12,
        bytes_per_second=2765e9,
        clock_hz=1.75e9,
        smallest="2x2x1",
    ),
    "v6e": Chip(
        devices=1,
        hbm_bytes=32 * _GIB,
        flops_per_second=918e12,
        bytes_per_second=1640e9,
        clock_hz=None,
        smallest="2x2",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
    """Some chips that work together.

    Attributes:
      name: "v5e:2x2".
      chip: What each is.
      version: "v5e".
      chips: How many there are.
    """

    name: str
    chip: Chip
    version: str
    chips: int

    @property
    def devices(self) -> int:
        """Replicas among which a batch is shared out."""
        return self.chips * self.chip.devices

    @property
    def device_hbm_bytes(self) -> float:
        """Memory of one device."""
        return self.chip.hbm_bytes / self.chip.devices

    def share_of(self, batch_size: int) -> int:
        """Return a device's windows of a global batch.

        Raises:
          InputError: If the batch cannot be shared out evenly.
        """
        errors.require(
            batch_size % self.devices == 0,
            f"batch_size must be a multiple of the {self.devices} devices of {self.name}",
            batch_size=batch_size,
        )
        return batch_size // self.devices


def parse(name: str) -> Topology:
    """Return the topology of a name like "v5e:2x2": version, and chips along each axis.

    Raises:
      InputError: If there is no such chip, or the shape cannot be read.
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
    """The least time that work can take: all of it at the chip's peak, overlapped perfectly.

    Source: Williams, Waterman, Patterson 2009, Roofline.

    Attributes:
      compute_seconds: For the arithmetic.
      memory_seconds: For the traffic with the HBM.
    """

    compute_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def bound(self) -> str:
        """Which of the two it is: "compute" or "memory"."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def roofline(chip: Chip, flops: float, hbm_bytes: float) -> Roofline:
    """Return the least time of one device's work.

    Args:
      chip: What the device is, or is a part of.
      flops: Floating-point operations.
      hbm_bytes: Read from and written to the HBM.
    """
    return Roofline(
        compute_seconds=flops / (chip.flops_per_second / chip.devices),
        memory_seconds=hbm_bytes / (chip.bytes_per_second / chip.devices),
    )
