"""`waveform_vae` from recordings to songs: trained, watched, resumed, heard, judged."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
import tiny

from lstm_gen.cli import evaluate
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.generation import songs
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig
from lstm_gen.platform import devices
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from lstm_gen.training import loop

RATE = 4000
MONITOR = dataclasses.replace(
    tiny.MONITOR,
    validate_every_steps=2,
    checkpoint_every_steps=2,
    sample_every_steps=2,
    sample_seconds=0.2,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_xla")]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(6 * RATE) / RATE
    for index in range(3):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * index) * time)
        soundfile.write(folder / f"{index}.wav", tone, RATE)
    return folder


@pytest.fixture(scope="module")
def dataset(recordings: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    job = plan.Job(
        input_dir=str(recordings),
        data_dir=str(tmp_path_factory.mktemp("data") / "dataset"),
        plots_dir="",
        audio=AudioConfig(sample_rate=RATE, representation="waveform", hop_length=20),
        segment=SegmentConfig(dtype="int16"),
        split=SplitConfig(split="pattern", validation_pattern="2"),
    )
    return prepare.prepare(job, n_workers=1)[0]


def make_run(dataset: manifest.Dataset) -> runs.Run:
    return dataclasses.replace(
        tiny.make_run(dataset, steps=4),
        settings=WaveformVAEConfig(strides="4,4", channels="4,6", latent_size=2),
        window=WindowConfig(timesteps=32, shift=0),
        augmentation=AugmentationConfig(gain_db=3, polarity=True),
    )


def train(run_dir: str, run: runs.Run, dataset: manifest.Dataset) -> checkpoints.State:
    runs.open_or_create(run_dir, run)
    loop.train(run_dir, run, dataset, MONITOR, devices.strategy("cpu"))
    state = checkpoints.newest(runs.model_dir(run_dir))
    assert state is not None
    return state


@pytest.fixture(scope="module")
def run_dir(dataset: manifest.Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("run") / "run")
    train(path, make_run(dataset), dataset)
    return path


def test_the_same_held_out_clip_is_heard_step_by_step_and_shown_in_a_gif(run_dir: str) -> None:
    samples = pathlib.Path(run_dir) / "samples"
    made = {path.name for path in samples.iterdir()}
    assert made == {
        f"step-{step:08d}-{kind}"
        for step in (2, 4)
        for kind in ("clip-0.png", "clip-0.wav", "song-0.png", "song-0.wav", "prediction.png")
    } | {"clip-0-held-out.wav", "training.gif"}
    held_out, rate = soundfile.read(samples / "clip-0-held-out.wav")
    heard, _ = soundfile.read(samples / "step-00000004-clip-0.wav")
    assert rate == RATE
    assert len(held_out) == len(heard) > 2 * RATE
    # The tone that was held out, and no other one.
    assert abs(np.argmax(np.abs(np.fft.rfft(held_out))) * RATE / len(held_out) - 500) < 2


def test_a_run_that_goes_on_ends_as_one_that_never_stopped(
    dataset: manifest.Dataset, run_dir: str, tmp_path: pathlib.Path
) -> None:
    run = make_run(dataset)
    again = tmp_path / "again"
    shutil.copytree(run_dir, again)
    shutil.rmtree(again / "checkpoints" / "step-00000004")  # as if killed after step 2
    shutil.rmtree(again / "model")
    gif = again / "samples" / "training.gif"
    shown = gif.read_bytes()
    gif.unlink()
    expected = checkpoints.newest(runs.model_dir(run_dir))
    found = train(str(again), run, dataset)
    assert expected is not None
    assert (found.step, found.sha256) == (expected.step, expected.sha256)
    assert found.facts["fitted"]
    assert gif.read_bytes() == shown


def test_songs_come_from_every_prior_and_are_as_long_as_asked(
    run_dir: str, tmp_path: pathlib.Path
) -> None:
    for prior in ("", *WaveformVAEConfig.priors):
        asked = GenerationConfig(n_songs=1, seconds=1.5, prior=prior)
        (path,) = songs.make(runs.load(run_dir), str(tmp_path / (prior or "default")), asked)
        samples, rate = soundfile.read(path)
        assert rate == RATE
        assert samples.size == 1.5 * RATE
        assert abs(samples.mean()) < np.sqrt(np.square(samples).mean())


def test_waveforms_are_measured(run_dir: str) -> None:
    settings = EvaluationConfig(what="waveforms", run_dir=(run_dir,), n_songs=3, seconds=1)
    text = evaluate.evaluate(settings, ["/cpu:0"])
    assert "| SNR, dB | median window SNR, dB | LSD, dB |" in text
    assert f"| {run_dir} | 4 |" in text
    for row in ("held-out music", *(f"{run_dir}, {p}" for p in WaveformVAEConfig.priors)):
        assert f"| {row} | " in text
