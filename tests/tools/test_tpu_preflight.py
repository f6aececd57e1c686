"""Preflight with a fake compiler: memory is proportional to the batch."""

import math
import types
from collections.abc import Callable
from typing import Any

import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import errors
from tools.tpu import chips, costs, lowering, preflight

REQUEST = base.GenerationRequest(n_songs=2, n_frames=300)
EXAMPLE_BYTES = 1e8  # so that 171 examples fit in the 16 GiB of a chip


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower_step(plan: lowering.Plan, device_batch: int) -> lowering.Program:
        assert plan.training.batch_size % device_batch == 0
        return lowering.Program("train step", 1, str(device_batch), bytes)

    def lower_generation(*_: Any) -> list[lowering.Program]:
        return [lowering.Program("warm", 1, "1", bytes), lowering.Program("roll", 3, "2", bytes)]

    def compile_program(program: lowering.Program, topology: chips.Topology) -> Any:
        needed = int(program.stablehlo) * EXAMPLE_BYTES
        if needed > topology.device_hbm_bytes:
            raise lowering.OutOfMemoryError("too large")
        return types.SimpleNamespace(
            program=program,
            memory=types.SimpleNamespace(total=needed, arguments=1.0),
            costs=costs.Costs(flops=197e9, hbm_bytes=819e5, loop_iterations=10, cycles=1.5e6),
        )

    compiler = types.SimpleNamespace(compile_program=compile_program)
    monkeypatch.setattr(lowering, "lower_step", lower_step)
    monkeypatch.setattr(lowering, "lower_generation", lower_generation)
    monkeypatch.setattr(lowering, "count_parameters", lambda _: 7)
    monkeypatch.setattr(preflight, "load_compiler", lambda: compiler)


def check(batch_size: int, topology: str = "v5e:1x1", largest: bool = True) -> preflight.Result:
    plan = lowering.Plan(
        settings=LSTMConfig(),
        spec=base.FrameSpec(audio=AudioConfig(n_mels=6), timesteps=10, shift=2),
        training=TrainingConfig(batch_size=batch_size),
    )
    return preflight.check(plan, REQUEST, 5, chips.parse(topology), largest)


def test_programs_add_up_over_their_calls() -> None:
    result = check(16, largest=False)
    assert result.ok
    assert result.largest_batch is None
    assert result.songs is not None
    assert result.songs.memory_bytes == 2 * EXAMPLE_BYTES  # of the largest
    assert result.songs.flops == 4 * 197e9
    assert result.songs.loop_iterations == 40
    assert result.songs.roofline.seconds == pytest.approx(4e-3)
    assert result.songs.seconds == pytest.approx(4e-3)


def test_a_batch_is_split_over_the_devices() -> None:
    result = check(64, "v5e:2x2")
    assert result.step is not None
    assert result.step.memory_bytes == 16 * EXAMPLE_BYTES
    assert result.largest_batch is not None
    assert 4 * 171 * 7 / 8 - 4 <= result.largest_batch <= 4 * 171
    assert check(16, "v6e:1x1").songs.seconds is None  # type: ignore[union-attr]
    with pytest.raises(errors.InputError, match="multiple of the 4 devices"):
        check(6, "v5e:2x2")


def test_a_batch_that_does_not_fit_is_a_problem() -> None:
    result = check(256)
    assert result.step is None
    assert not result.ok
    assert result.problems == ("train step: too large",)
    assert result.largest_batch is not None
    assert 171 * 7 / 8 - 1 <= result.largest_batch <= 171


def test_no_batch_is_searched_where_nothing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise lowering.CompileError("no")

    monkeypatch.setattr(lowering, "lower_step", refuse)
    monkeypatch.setattr(lowering, "lower_generation", refuse)
    result = check(16)
    assert result.problems == ("train step: no", "generation: no")
    assert result.largest_batch is None


@pytest.mark.parametrize("each", [1e6, 10.8e6, 3e8])
@pytest.mark.parametrize("held", [1e7, 1e9])
@pytest.mark.parametrize("first", [1, 4, 16])
def test_the_largest_batch_is_found_in_few_tries(each: float, held: float, first: int) -> None:
    usable, tries = 16e9, []

    def need(batch: int) -> float:
        """Return the HBM use of a batch whose first four examples stay in on-chip memory."""
        tries.append(batch)
        needed = held + each * max(0, batch - 4)
        return needed if needed <= usable else math.inf

    largest = 4 + (usable - held) / each
    found = preflight.largest_that_fits(need, usable, (first, need(first)))
    assert largest * 7 / 8 - 1 <= found <= largest
    assert len(tries) <= 8


def smaller_than(limit: int) -> Callable[[int], float]:
    return lambda batch: 1e9 * batch / limit if batch < limit else math.inf


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_largest_batch_is_found_below_one_that_does_not_fit(limit: int) -> None:
    found = preflight.largest_that_fits(smaller_than(limit), 1e9, too_large=128)
    assert (limit - 1) * 7 / 8 - 1 <= found < limit
    assert limit > 3 or found == limit - 1
