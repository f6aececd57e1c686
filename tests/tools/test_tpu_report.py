import dataclasses
import importlib.util

import processes
import pytest

from lstm_gen.cli import command
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import errors
from tools import check_tpu
from tools.tpu import chips, lowering, preflight, report

WORK = preflight.Estimate(
    memory_bytes=1.5e9,
    resident_bytes=58.1e6,
    flops=57.7e9,
    hbm_bytes=8.19e9,
    roofline=chips.roofline(chips.CHIPS["v5e"], 57.7e9, 8.19e9),
    loop_iterations=512,
    seconds=0.0062,
)
RESULT = preflight.Result(
    plan=lowering.Plan(
        settings=LSTMConfig(),
        spec=base.FrameSpec(audio=AudioConfig(n_mels=6), timesteps=10, shift=2),
        training=TrainingConfig(batch_size=16),
    ),
    topology=chips.parse("v5e:2x2"),
    request=base.GenerationRequest(n_songs=4, n_frames=861),
    parameters=4_753_802,
    step=WORK,
    songs=dataclasses.replace(WORK, seconds=None),
    problems=(),
    largest_batch=1408,
)


def test_a_result_as_text() -> None:
    text = report.describe("music", RESULT)
    for part in (
        "music: lstm, 4,753,802 parameters, float32",
        "4 of 16 examples a step on each of 4 devices, 16 GiB of HBM each",
        "HBM 1.50 GB, 58.1 MB of it resident; 57.7 GFLOP, 8.19 GB of HBM traffic",
        "at least 10.00 ms (memory-bound: compute 0.29 ms, memory 10.00 ms); estimated 6.20 ms",
        "--batch_size=1408 fits",
        "4 songs of 861 frames",
        "estimated unknown",
    ):
        assert part in text
    assert "DOES NOT" not in text
    assert RESULT.ok


def test_a_problem_is_named_in_text_and_table() -> None:
    reason = "train step: XLA has no PyFunc: that operation runs on a host only"
    result = dataclasses.replace(RESULT, step=None, largest_batch=None, problems=(reason,))
    assert not result.ok
    assert f"DOES NOT COMPILE OR FIT  {reason}" in report.describe("", result)
    assert reason in report.table({"music": result})


def test_a_table_has_a_row_for_each_preset() -> None:
    lines = report.table({"music": RESULT, "tiny": RESULT, "vae": None}).splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| music | float32 | 4.75 M | 4 | 1.50 GB | 57.7 G | 8.19 GB ")


@pytest.mark.skipif(importlib.util.find_spec("jax") is not None, reason="JAX is installed")
def test_a_missing_compiler_is_one_line() -> None:
    flags = ("--units=8", "--nolargest_batch")
    result = processes.run_python("-m", "tools.check_tpu", *flags)
    assert (result.returncode, result.stdout) == (1, "")
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "the TPU compiler must be installed: run make check-tpu" in error
    assert "Traceback" not in result.stderr


def test_a_failing_preset_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(plan: lowering.Plan, *_: object) -> preflight.Result:
        if plan.training.batch_size == TrainingConfig.batch_size:
            raise errors.InputError("batch_size must fit.\nReceived: batch_size")
        return RESULT

    monkeypatch.setattr(preflight, "load_compiler", lambda: None)
    monkeypatch.setattr(preflight, "check", check)
    presets = ("--preset=default,gan", "--batch_size=64")
    assert command.execute(check_tpu.main, check_tpu.SETTINGS, ["check_tpu", presets[0]]) == 1
    printed = capsys.readouterr().out
    assert "default: FAILED  batch_size must fit. Received: batch_size\n" in printed
    assert "gan: lstm" in printed
    assert command.execute(check_tpu.main, check_tpu.SETTINGS, ["check_tpu", *presets]) == 0
