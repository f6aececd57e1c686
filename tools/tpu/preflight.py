"""Will it compile for a TPU, will it fit, how long will it take: asked before one is rented."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from types import ModuleType

from lstm_gen.models import base as families
from lstm_gen.platform import errors
from tools.tpu import chips, lowering, refusals, search


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Programs that follow one another on a device.

    Attributes:
      needed_bytes: Memory of the hungriest.
      held_bytes: What it holds between calls.
      flops: Floating-point operations.
      hbm_bytes: Read from the memory and written to it.
      roofline: The least time.
      loop_turns: Turns of loops, one after another.
      reckoned_seconds: What the compiler expects; None if the clock is not known.
    """

    needed_bytes: float
    held_bytes: float
    flops: float
    hbm_bytes: float
    roofline: chips.Roofline
    loop_turns: float
    reckoned_seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found out.

    Attributes:
      plan: What is to be trained.
      topology: On what.
      controls: What is to be generated.
      parameters: Trainable values of the model.
      step: A training step; None if it does not compile.
      songs: The generation of all songs; None if it does not compile.
      problems: Why something does not compile or fit.
      largest_batch: Of all devices together; None if it was not looked for.
    """

    plan: lowering.Plan
    topology: chips.Topology
    controls: families.Controls
    parameters: int
    step: Work | None
    songs: Work | None
    problems: tuple[str, ...]
    largest_batch: int | None

    @property
    def good(self) -> bool:
        """Whether everything compiles and fits."""
        return not self.problems


def check(
    plan: lowering.Plan,
    controls: families.Controls,
    primer_frames: int,
    topology: chips.Topology,
    find_largest: bool,
) -> Verdict:
    """Compile a training step and the generation of songs for a TPU that is not there.

    Args:
      plan: What is to be trained.
      controls: What is to be generated.
      primer_frames: What each song starts from.
      topology: On what; the batch is shared out evenly, songs are made by one device.
      find_largest: Whether to look for the largest batch too: four or five compilations more.

    Raises:
      InputError: If the compiler is not installed, or the batch cannot be shared out.
    """
    _load_compiler()
    share = topology.share_of(plan.training.batch_size)
    step = _attempt(lambda: [lowering.lower_step(plan, share)], topology)
    songs = _attempt(lambda: lowering.lower_generation(plan, controls, primer_frames), topology)
    found = {"train step": step, "generation": songs}
    refused = {name: one for name, one in found.items() if isinstance(one, refusals.CompileError)}
    searched = find_largest and isinstance(step, Work | refusals.OutOfMemoryError)
    return Verdict(
        plan=plan,
        topology=topology,
        controls=controls,
        parameters=lowering.count_parameters(plan),
        step=step if isinstance(step, Work) else None,
        songs=songs if isinstance(songs, Work) else None,
        problems=tuple(f"{name}: {refusal}" for name, refusal in refused.items()),
        largest_batch=_largest_batch(plan, topology, step, share) if searched else None,
    )


def _attempt(
    lower: Callable[[], Sequence[lowering.Program]], topology: chips.Topology
) -> Work | refusals.CompileError:
    """Return what programs need, or why they cannot run."""
    try:
        return _add_up(lower(), topology)
    except refusals.CompileError as error:
        return error


def _load_compiler() -> ModuleType:
    try:
        from tools.tpu import compiler
    except ImportError as error:
        raise errors.InputError(
            "the TPU's compiler must be installed; make check-tpu does that in an environment of "
            f"its own, as does pip install '.[cpu,tpu-check]'. Received: {error}"
        ) from error
    return compiler


def _add_up(programs: Sequence[lowering.Program], topology: chips.Topology) -> Work:
    """Return what programs need that one device runs one after another."""
    compiler = _load_compiler()
    compiled = [compiler.compile_program(program, topology) for program in programs]
    largest = max(compiled, key=lambda one: one.memory.needed).memory
    costs = [one.costs.times(one.program.calls) for one in compiled]
    chip, flops = topology.chip, sum(one.flops for one in costs)
    hbm_bytes = sum(one.hbm_bytes for one in costs)
    return Work(
        needed_bytes=largest.needed,
        held_bytes=largest.held,
        flops=flops,
        hbm_bytes=hbm_bytes,
        roofline=chips.roofline(chip, flops, hbm_bytes),
        loop_turns=sum(one.loop_turns for one in costs),
        reckoned_seconds=sum(one.cycles for one in costs) / chip.clock_hz
        if chip.clock_hz
        else None,
    )


def _largest_batch(
    plan: lowering.Plan, topology: chips.Topology, step: Work | refusals.CompileError, share: int
) -> int:
    """Return the largest global batch whose step fits."""

    def need(device_batch: int) -> float:
        batch_size = device_batch * topology.devices
        training = dataclasses.replace(plan.training, batch_size=batch_size)
        larger = dataclasses.replace(plan, training=training)
        found = _attempt(lambda: [lowering.lower_step(larger, device_batch)], topology)
        return found.needed_bytes if isinstance(found, Work) else math.inf

    usable = topology.device_hbm_bytes
    if isinstance(step, Work):
        largest = search.largest_that_fits(need, usable, (share, step.needed_bytes))
    else:
        largest = search.largest_that_fits(need, usable, too_large=share)
    return largest * topology.devices
