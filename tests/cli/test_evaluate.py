"""The evaluation command, and evaluations of songs by models of a few untrained units."""

import dataclasses
import pathlib
import re

import processes
import pytest
import tiny

from lstm_gen.cli import evaluate
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs


def _make_run(folder: pathlib.Path, dataset: manifest.Dataset) -> str:
    run = tiny.make_run(dataset)
    runs.open_or_create(str(folder), run)
    runs.save_model(str(folder), run.build_model(), 3, {"nats_per_dim": 0.25})
    return str(folder)


@pytest.fixture
def dataset(tmp_path: pathlib.Path) -> manifest.Dataset:
    long = [tiny.make_frames(200, seed) for seed in range(4)]
    return tiny.make_dataset(tmp_path / "dataset", long[:2], long[2:])


def test_runs_stand_side_by_side_beside_real_music(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    named = [_make_run(tmp_path / name, dataset) for name in ("one", "two")]
    scores = dict.fromkeys(("distance", "quiet", "median", "loud", "drift", "flux"), 0.0)
    scores |= dict.fromkeys(("onset_rate", "onset_rate_real", "onset_strength"), 2.0)
    scores |= dict.fromkeys(("clarity", "variance", "energy"), 1.0)
    runs.add_facts(named[0], {"sampling": {"temperature": 0.9}, "calibration": scores})
    flags = [f"--run_dir={path}" for path in named]
    output = tmp_path / "table.md"
    done = processes.run_python(
        *("-m", "lstm_gen", "evaluate", "--what=songs", "--device=cpu", *flags),
        *("--n_songs=2", "--seconds=4", f"--output={output}"),
    )
    assert done.returncode == 0, done.stderr
    text = output.read_text("utf-8")
    assert text == done.stdout
    columns = " | ".join(["held-out music", "training music", *named])
    assert text.count(f"| figure | accept | {columns} |") == 2  # of frames and of sound
    assert "| onsets a second |" in text
    assert f"{named[0]}, calibrated: temperature 0.9, neighbour_weight 0: loudness as in" in text
    assert f"{named[1]}, calibrated" not in text
    for name in (*named, "VAR(3), full covariance"):
        assert re.search(rf"\| {re.escape(name)} \| 0\.\d{{4}} \|", text), name
    assert f"| {named[0]}, step 3 | 0.250 |" in text
    assert "| VAR(3), full covariance |" in text
    assert "| generated clips | ≥ 16 | 2 | 2 | 2 | 2 |" in text


def test_models_without_a_likelihood_of_frames_are_measured_without_baselines(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    settings = LSTMConfig(**tiny.FAMILY_SETTINGS["lstm"])
    run = dataclasses.replace(
        tiny.make_run(dataset), settings=settings, window=WindowConfig(timesteps=8, shift=2)
    )
    runs.open_or_create(str(tmp_path / "run"), run)
    runs.save_model(str(tmp_path / "run"), run.build_model(), 3, {"energy_score": 0.25})
    chosen = EvaluationConfig(run_dir=(str(tmp_path / "run"),), n_songs=2, seconds=4)
    text = evaluate.evaluate(chosen, ["/cpu:0"])
    assert "nats" not in text.partition("| figure |")[0]
    assert text.startswith("| held-out predictions | energy score |")
    assert "| generated clips | ≥ 16 | 2 | 2 | 2 |" in text


def test_models_that_continue_a_primer_stand_beside_models_that_take_none(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    own = _make_run(tmp_path / "lstm", dataset)
    other = dataclasses.replace(
        tiny.make_run(dataset),
        settings=VAEConfig(**tiny.FAMILY_SETTINGS["vae"]),
        window=WindowConfig(timesteps=16, shift=0),
    )
    runs.open_or_create(str(tmp_path / "vae"), other)
    runs.save_model(str(tmp_path / "vae"), other.build_model(), 3, {})
    settings = EvaluationConfig(run_dir=(own, str(tmp_path / "vae")), n_songs=2, seconds=4)
    text = evaluate.evaluate(settings, ["/cpu:0"])
    (timbre,) = [line for line in text.splitlines() if line.startswith("| timbre")]
    continued, unprimed = timbre.split(" | ")[-2:]
    assert "nan" not in continued
    assert "nan" in unprimed


def test_bad_settings_are_one_line_before_anything_is_loaded() -> None:
    for flags, message in (
        (["--what=labels"], "name it with --label"),
        (["--what=notes"], "name their folder with --input_dir"),
        (["--what=pictures"], "songs, samples, notes, labels, reconstructions, waveforms"),
    ):
        done = processes.run_python("-m", "lstm_gen", "evaluate", *flags)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("fingerprint", "message"),
    [("another", "must be of the same dataset"), (None, "hold trained weights")],
)
def test_runs_that_cannot_be_compared_are_refused(
    tmp_path: pathlib.Path, dataset: manifest.Dataset, fingerprint: str | None, message: str
) -> None:
    one = _make_run(tmp_path / "one", dataset)
    other = str(tmp_path / "other")
    run = tiny.make_run(dataset)
    if fingerprint:
        run = dataclasses.replace(run, fingerprint=fingerprint)
    runs.open_or_create(other, run)
    settings = EvaluationConfig(run_dir=(one, other), n_songs=2, seconds=4)
    with pytest.raises(errors.InputError, match=message):
        evaluate.evaluate(settings, ["/cpu:0"])


@pytest.mark.parametrize(
    ("what", "message"),
    [("reconstructions", "with latents"), ("waveforms", "of representation waveform")],
)
def test_models_of_another_kind_are_refused(
    tmp_path: pathlib.Path, dataset: manifest.Dataset, what: str, message: str
) -> None:
    settings = EvaluationConfig(what=what, run_dir=(_make_run(tmp_path / "run", dataset),))
    with pytest.raises(errors.InputError, match=message):
        evaluate.evaluate(settings, ["/cpu:0"])


def test_labels_and_pitch_must_be_conditioned_on(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    run_dir = (_make_run(tmp_path / "run", dataset),)
    for settings in (
        EvaluationConfig(what="labels", run_dir=run_dir, label="digit"),
        EvaluationConfig(what="notes", run_dir=run_dir, input_dir="notes"),
    ):
        with pytest.raises(errors.InputError, match="conditioned on"):
            evaluate.evaluate(settings, ["/cpu:0"])
