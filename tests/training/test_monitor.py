"""What a run of a model with latents shows and plays while it trains."""

import dataclasses
import pathlib

import numpy as np
import pytest
import soundfile
import tiny

from lstm_gen import config, distribute, runs, training_config
from lstm_gen.audio import normalisation
from lstm_gen.data import jobs, manifest, prepare
from lstm_gen.models import waveform_vae
from lstm_gen.training import loop, monitor

RATE = 4000
MONITOR = training_config.MonitorConfig(
    steps_per_call=1,
    validate_every_steps=2,
    checkpoint_every_steps=2,
    sample_every_steps=1,
    sample_seconds=0.2,
    n_samples=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    folder = tmp_path_factory.mktemp("monitor")
    (folder / "recordings").mkdir()
    time = np.arange(6 * RATE) / RATE
    for index in range(3):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * index) * time)
        soundfile.write(folder / "recordings" / f"{index}.wav", tone, RATE)
    job = jobs.Job(
        input_dir=str(folder / "recordings"),
        data_dir=str(folder / "dataset"),
        plots_dir="",
        audio=config.AudioConfig(sample_rate=RATE, representation="waveform", hop_length=20),
        segment=config.SegmentConfig(dtype="int16"),
        split=config.SplitConfig(split="recording", validation_fraction=0.3),
    )
    return prepare.prepare(job, n_workers=1)[0]


def make_run(dataset: manifest.Dataset, steps: int) -> runs.Run:
    return runs.Run(
        family=waveform_vae.FAMILY,
        settings=waveform_vae.WaveformVAEConfig(strides="4,4", channels="4,6", latent_size=2),
        window=config.WindowConfig(timesteps=32, shift=0),
        training=dataclasses.replace(tiny.TRAINING, steps=steps),
        audio=dataset.audio,
        normalisation=normalisation.Normalisation(mean=dataset.mean, std=dataset.std),
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=training_config.AugmentationConfig(),
    )


def train(folder: pathlib.Path, dataset: manifest.Dataset, steps: int) -> None:
    run = make_run(dataset, steps)
    runs.open_or_create(str(folder), run)
    loop.train(str(folder), run, dataset, MONITOR, distribute.strategy("cpu"))


@pytest.mark.slow
def test_the_same_held_out_clips_are_heard_step_by_step_and_shown_in_a_gif(
    tmp_path: pathlib.Path, dataset: manifest.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribute, "compiles_with_xla", lambda *_: False)
    monkeypatch.setattr(monitor.Monitor, "prediction", lambda *_: None)
    run_dir, samples = tmp_path / "run", tmp_path / "run" / "samples"
    train(run_dir, dataset, 2)
    expected = {
        f"step-{step:08d}-{kind}-0.{ending}"
        for step in (1, 2)
        for kind in ("clip", "song")
        for ending in ("png", "wav")
    }
    once = {"clip-0-held-out.wav", "training.gif"}
    assert {path.name for path in samples.iterdir()} == expected | once
    held_out, rate = soundfile.read(samples / "clip-0-held-out.wav")
    heard, _ = soundfile.read(samples / "step-00000002-clip-0.wav")
    assert rate == RATE
    assert len(held_out) == len(heard) > 2 * RATE
    # The tone that was held out, and no other one.
    peak_hz = np.argmax(np.abs(np.fft.rfft(held_out))) * RATE / len(held_out)
    assert min(abs(peak_hz - hz) for hz in (200, 350, 500)) < 2
    gif = (samples / "training.gif").read_bytes()
    # A run that goes on shows what there was before too.
    train(run_dir, dataset, 3)
    assert (samples / "step-00000003-clip-0.png").exists()
    assert len((samples / "training.gif").read_bytes()) > len(gif)
