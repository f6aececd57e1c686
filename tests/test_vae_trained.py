"""The variational autoencoder from recordings to songs: trained, resumed, told, heard, judged."""

import dataclasses
import pathlib

import numpy as np
import pytest
import soundfile
import tiny

from lstm_gen.cli import evaluate
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.generation import songs
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import devices
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from lstm_gen.training import loop

RATE = 4000
AUDIO = AudioConfig(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=12)
MONITOR = dataclasses.replace(tiny.MONITOR, sample_every_steps=6)

pytestmark = pytest.mark.slow


def make_sound(kind: str, index: int) -> np.ndarray:
    """Return 4 s of a tone that beats, high or low."""
    time = np.arange(4 * RATE) / RATE
    hz = {"low": 200, "high": 900}[kind] * (1 + 0.1 * index)
    beat = 1 + 0.8 * np.sin(2 * np.pi * (1 + 0.3 * index) * time)
    noise = np.random.default_rng(index).standard_normal(time.size)
    return 0.2 * np.sin(2 * np.pi * hz * time) * beat + 0.003 * noise


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("recordings")
    for kind in ("low", "high"):
        for index in range(4):
            soundfile.write(folder / f"{kind}-{index}.wav", make_sound(kind, index), RATE)
    return folder


@pytest.fixture(scope="module")
def dataset(recordings: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    job = plan.Job(
        input_dir=str(recordings),
        data_dir=str(tmp_path_factory.mktemp("data") / "dataset"),
        plots_dir="",
        audio=AUDIO,
        segment=SegmentConfig(),
        split=SplitConfig(split="pattern", validation_pattern="-3"),
        label_source=LabelConfig(labels="pattern", labels_pattern="^(?P<kind>low|high)-"),
    )
    return prepare.prepare(job, n_workers=1)[0]


def make_run(dataset: manifest.Dataset, condition: tuple[str, ...] = ()) -> runs.Run:
    like = tiny.make_run(dataset, steps=6)
    return dataclasses.replace(
        like,
        settings=VAEConfig(latent_size=3, width=12),
        window=WindowConfig(timesteps=16, shift=0),
        augmentation=AugmentationConfig(gain_db=3),
        vocabulary=dataset.labels,
        condition=condition,
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


@pytest.fixture(scope="module")
def told_dir(dataset: manifest.Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("told") / "run")
    train(path, make_run(dataset, ("kind",)), dataset)
    return path


def test_songs_come_from_every_prior_and_are_as_long_as_asked(
    run_dir: str, tmp_path: pathlib.Path
) -> None:
    for prior in ("", "gmm", "gaussian", "standard"):
        asked = GenerationConfig(n_songs=1, seconds=1.5, prior=prior)
        (path,) = songs.make(runs.load(run_dir), str(tmp_path / (prior or "default")), asked)
        samples, rate = soundfile.read(path)
        assert rate == RATE
        assert abs(samples.size - 1.5 * RATE) <= AUDIO.hop_length
        assert np.abs(samples).max() > 1e-3


def test_samples_are_measured(run_dir: str) -> None:
    settings = EvaluationConfig(
        what="samples", run_dir=(run_dir,), n_songs=2, seconds=2, prior=("gmm", "standard")
    )
    text = evaluate.evaluate(settings, ["/cpu:0"])
    assert f"| held-out music | training music | {run_dir}, gmm | {run_dir}, standard |" in text
    assert "variance of frame differences" in text
    assert "| patches beside held-out ones | energy score |" in text
    assert "| onsets a second |" in text
    assert "from the primer" not in text
    assert "of 3 latents active" in text
    assert "nelbo_per_dim" in text


def test_songs_are_classified(told_dir: str, tmp_path: pathlib.Path) -> None:
    settings = EvaluationConfig(what="labels", run_dir=(told_dir,), label="kind", n_songs=6)
    text = evaluate.evaluate(settings, ["/cpu:0"])
    assert "| held-out sounds | 100.0% | 2 |" in text
    assert "| songs |" in text
    assert "songs, by class: high" in text
    asked = GenerationConfig(n_songs=1, seconds=1, label=("kind=high",))
    assert len(songs.make(runs.load(told_dir), str(tmp_path / "songs"), asked)) == 1
