"""The preflight's decisions, with a compiler that knows one figure: bytes for each window."""

import types
from typing import Any

import pytest

from lstm_gen import models
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base as families
from lstm_gen.platform import errors
from tools.tpu import chips, costs, lowering, preflight, refusals

FAMILY = models.families()[0]
CONTROLS = families.Controls(n_songs=2, n_frames=300)
WINDOW_BYTES = 1e8  # so that 171 windows fit the 16 GiB of a chip


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower_step(plan: lowering.Plan, device_batch: int) -> lowering.Program:
        assert plan.training.batch_size % device_batch == 0
        return lowering.Program("train step", 1, str(device_batch), b"")

    def lower_generation(*_: Any) -> list[lowering.Program]:
        return [lowering.Program("warm", 1, "1", b""), lowering.Program("roll", 3, "2", b"")]

    def compile_program(program: lowering.Program, topology: chips.Topology) -> Any:
        needed = int(program.stablehlo) * WINDOW_BYTES
        if needed > topology.device_hbm_bytes:
            raise refusals.OutOfMemoryError("it needs too much")
        return types.SimpleNamespace(
            program=program,
            memory=types.SimpleNamespace(needed=needed, held=1.0),
            costs=costs.Costs(flops=197e9, hbm_bytes=819e5, loop_turns=10, cycles=1.5e6),
        )

    compiler = types.SimpleNamespace(compile_program=compile_program)
    monkeypatch.setattr(lowering, "lower_step", lower_step)
    monkeypatch.setattr(lowering, "lower_generation", lower_generation)
    monkeypatch.setattr(lowering, "count_parameters", lambda _: 7)
    monkeypatch.setattr(preflight, "_load_compiler", lambda: compiler)


def check(batch_size: int, topology: str = "v5e:1x1", largest: bool = True) -> preflight.Verdict:
    plan = lowering.Plan(
        family=FAMILY,
        settings=FAMILY.config_class(),
        signal=families.Signal(audio=AudioConfig(n_mels=6), timesteps=10, shift=2),
        training=TrainingConfig(batch_size=batch_size),
    )
    return preflight.check(plan, CONTROLS, 5, chips.parse(topology), largest)


def test_programs_add_up_over_their_calls() -> None:
    verdict = check(16, largest=False)
    assert verdict.good
    assert verdict.largest_batch is None
    assert verdict.songs is not None
    assert verdict.songs.needed_bytes == 2 * WINDOW_BYTES  # of the hungriest
    assert verdict.songs.flops == 4 * 197e9
    assert verdict.songs.loop_turns == 40
    assert verdict.songs.roofline.seconds == pytest.approx(4e-3)
    assert verdict.songs.reckoned_seconds == pytest.approx(4e-3)


def test_a_batch_is_shared_out() -> None:
    verdict = check(64, "v5e:2x2")
    assert verdict.step is not None
    assert verdict.step.needed_bytes == 16 * WINDOW_BYTES
    assert verdict.largest_batch is not None
    assert 4 * 171 * 7 / 8 - 4 <= verdict.largest_batch <= 4 * 171
    assert check(16, "v6e:1x1").songs.reckoned_seconds is None  # type: ignore[union-attr]
    with pytest.raises(errors.InputError, match="multiple of the 4 devices"):
        check(6, "v5e:2x2")


def test_a_batch_that_does_not_fit_is_a_problem_with_a_way_out() -> None:
    verdict = check(256)
    assert verdict.step is None
    assert not verdict.good
    assert verdict.problems == ("train step: it needs too much",)
    assert verdict.largest_batch is not None
    assert 171 * 7 / 8 - 1 <= verdict.largest_batch <= 171


def test_nothing_is_searched_where_nothing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise refusals.CompileError("no")

    monkeypatch.setattr(lowering, "lower_step", refuse)
    monkeypatch.setattr(lowering, "lower_generation", refuse)
    verdict = check(16)
    assert verdict.problems == ("train step: no", "generation: no")
    assert verdict.largest_batch is None
