"""Preflight check: whether a plan compiles for a TPU, fits in its HBM, and how long it takes."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from types import ModuleType

from lstm_gen.models import base
from lstm_gen.platform import errors
from tools.tpu import chips, lowering

_LARGEST_BATCH = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory, operations and time of programs that one device runs in sequence.

    Attributes:
      memory_bytes: HBM use of the largest program.
      resident_bytes: Part of it that stays between calls.
      flops: Floating-point operations.
      hbm_bytes: HBM traffic, bytes.
      roofline: Lower bound on the run time.
      loop_iterations: Sequential loop iterations.
      seconds: Run time estimated by the compiler; None if the chip's clock is unknown.
    """

    memory_bytes: float
    resident_bytes: float
    flops: float
    hbm_bytes: float
    roofline: chips.Roofline
    loop_iterations: float
    seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a check.

    Attributes:
      plan: Model and training settings.
      topology: TPU slice.
      request: Songs to generate.
      parameters: Trainable parameters of the model.
      step: A training step; None if it does not compile.
      songs: Generation of all songs; None if it does not compile.
      problems: Reasons why something does not compile or fit.
      largest_batch: Largest global batch that fits; None if not searched.
    """

    plan: lowering.Plan
    topology: chips.Topology
    request: base.GenerationRequest
    parameters: int
    step: Estimate | None
    songs: Estimate | None
    problems: tuple[str, ...]
    largest_batch: int | None

    @property
    def ok(self) -> bool:
        """Whether everything compiles and fits."""
        return not self.problems


def check(
    plan: lowering.Plan,
    request: base.GenerationRequest,
    primer_frames: int,
    topology: chips.Topology,
    find_largest: bool,
) -> Result:
    """Compile a training step and the generation of songs for a TPU.

    Args:
      plan: Model and training settings.
      request: Songs to generate.
      primer_frames: Frames of each song's primer.
      topology: TPU slice; all devices train, one device generates.
      find_largest: Whether to search for the largest batch, with four or five more compilations.

    Raises:
      InputError: If the compiler is not installed, or the devices cannot share the batch evenly.
    """
    load_compiler()
    device_batch = topology.device_batch(plan.training.batch_size)
    step = _attempt(lambda: [lowering.lower_step(plan, device_batch)], topology)
    songs = _attempt(lambda: lowering.lower_generation(plan, request, primer_frames), topology)
    found = {"train step": step, "generation": songs}
    failed = {name: one for name, one in found.items() if isinstance(one, lowering.CompileError)}
    search = find_largest and isinstance(step, Estimate | lowering.OutOfMemoryError)
    return Result(
        plan=plan,
        topology=topology,
        request=request,
        parameters=lowering.count_parameters(plan),
        step=step if isinstance(step, Estimate) else None,
        songs=songs if isinstance(songs, Estimate) else None,
        problems=tuple(f"{name}: {error}" for name, error in failed.items()),
        largest_batch=_largest_batch(plan, topology, step, device_batch) if search else None,
    )


def load_compiler() -> ModuleType:
    """Import and return `tools.tpu.compiler`.

    Raises:
      InputError: If JAX or libtpu is not installed.
    """
    try:
        from tools.tpu import compiler
    except ImportError as error:
        raise errors.InputError(
            "the TPU compiler must be installed: run make check-tpu, or pip install "
            f"'.[cpu,tpu-check]' in an environment of its own. Received: {error}"
        ) from error
    return compiler


def _attempt(
    lower: Callable[[], Sequence[lowering.Program]], topology: chips.Topology
) -> Estimate | lowering.CompileError:
    """Return the estimate of lowered programs, or the error that prevents it."""
    try:
        return _estimate(lower(), topology)
    except lowering.CompileError as error:
        return error


def _estimate(programs: Sequence[lowering.Program], topology: chips.Topology) -> Estimate:
    compiler = load_compiler()
    compiled = [compiler.compile_program(program, topology) for program in programs]
    largest = max(compiled, key=lambda one: one.memory.total).memory
    costs = [one.costs.times(one.program.calls) for one in compiled]
    chip, flops = topology.chip, sum(one.flops for one in costs)
    hbm_bytes, cycles = sum(one.hbm_bytes for one in costs), sum(one.cycles for one in costs)
    return Estimate(
        memory_bytes=largest.total,
        resident_bytes=largest.arguments,
        flops=flops,
        hbm_bytes=hbm_bytes,
        roofline=chips.roofline(chip, flops, hbm_bytes),
        loop_iterations=sum(one.loop_iterations for one in costs),
        seconds=cycles / chip.clock_hz if chip.clock_hz else None,
    )


def _largest_batch(
    plan: lowering.Plan,
    topology: chips.Topology,
    step: Estimate | lowering.CompileError,
    device_batch: int,
) -> int:
    """Return the largest global batch whose step fits."""

    def memory_bytes(batch: int) -> float:
        training = dataclasses.replace(plan.training, batch_size=batch * topology.devices)
        larger = dataclasses.replace(plan, training=training)
        found = _attempt(lambda: [lowering.lower_step(larger, batch)], topology)
        return found.memory_bytes if isinstance(found, Estimate) else math.inf

    available = topology.device_hbm_bytes
    if isinstance(step, Estimate):
        largest = largest_that_fits(memory_bytes, available, (device_batch, step.memory_bytes))
    else:
        largest = largest_that_fits(memory_bytes, available, too_large=device_batch)
    return largest * topology.devices


def largest_that_fits(
    memory_bytes: Callable[[int], float],
    available: float,
    fitting: tuple[int, float] = (0, 0.0),
    too_large: int = _LARGEST_BATCH + 1,
) -> int:
    """Return the largest batch that fits, to within an eighth; 0 if none does.

    Each try is a compilation, so few are made. The first is a power of two, extrapolated from one
    batch; later ones assume that memory grows linearly, which holds once the batch has outgrown
    on-chip memory; else the interval is bisected.

    Args:
      memory_bytes: Function (batch) -> bytes, infinite if the batch does not fit.
      available: Bytes available.
      fitting: A batch that fits, and its bytes.
      too_large: A batch that does not fit.
    """
    tried = [fitting]
    while (batch := _next_batch(tried, too_large, available)) < too_large:
        needed = memory_bytes(batch)
        if needed <= available:
            tried.append((batch, needed))
        else:
            too_large = batch
    return tried[-1][0]


def _next_batch(fits: list[tuple[int, float]], too_large: int, available: float) -> int:
    """Return the batch to try next; `too_large` if the search is complete."""
    batch, needed = fits[-1]
    grain = max(1, _power_of_two(batch) // 8)
    if batch + grain >= too_large:
        return too_large
    guess = (batch + too_large) // 2
    if len(fits) > 1:
        before, needed_before = fits[-2]
        growth = max(needed - needed_before, 1.0) / (batch - before)
        line = batch + int((available - needed) / growth)
        guess = line if line < too_large else guess
    elif needed:
        guess = _power_of_two(min(batch * available / needed, math.sqrt(batch * too_large)))
    return max(guess - guess % grain, batch + grain)


def _power_of_two(value: float) -> int:
    """Return the largest power of two up to a value, at least 1."""
    return 1 << int(math.log2(max(value, 1)))
