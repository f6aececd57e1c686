"""One LSTM for all: trained on, and generating, any representation without a special case."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny

from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import AugmentationConfig
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.generation import songs
from lstm_gen.platform import devices, storage
from lstm_gen.runs import run as runs
from lstm_gen.training import loop

RATE = 4000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(4 * RATE) / RATE
    for index in range(3):
        tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * index) * time) * (1 + 0.5 * np.sin(7 * time))
        soundfile.write(folder / f"{index}.wav", tone, RATE)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("audio", "dtype"),
    [
        ({"representation": "log_stft", "n_fft": 64, "hop_length": 16}, "float16"),
        (
            {"representation": "activations", "n_fft": 256, "hop_length": 64, "n_atoms": 8},
            "float16",
        ),
        (
            {"representation": "complex_stft", "n_fft": 64, "hop_length": 16, "n_bins": 32},
            "float16",
        ),
        ({"representation": "waveform", "hop_length": 20, "normalisation": "min_max"}, "int16"),
    ],
    ids=lambda value: str(value["representation"] if isinstance(value, dict) else value),
)
def test_a_representation_is_learnt_and_heard(
    recordings: pathlib.Path, tmp_path: pathlib.Path, audio: dict[str, Any], dtype: str
) -> None:
    job = plan.Job(
        input_dir=str(recordings),
        data_dir=str(tmp_path / "dataset"),
        plots_dir="",
        audio=AudioConfig(sample_rate=RATE, **audio),
        segment=SegmentConfig(dtype=dtype),
        split=SplitConfig(split="recording", validation_fraction=0.3),
    )
    dataset, _ = prepare.prepare(job, n_workers=1)
    run = runs.Run(
        settings=tiny.SETTINGS,
        window=tiny.WINDOW,
        training=dataclasses.replace(tiny.TRAINING, steps=2),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
    )
    run_dir = str(tmp_path / "run")
    runs.open_or_create(run_dir, run)
    monitor = dataclasses.replace(tiny.MONITOR, validate_every_steps=2, checkpoint_every_steps=2)
    loop.train(run_dir, run, dataset, monitor, devices.strategy("cpu"))
    clip = str(recordings / "0.wav")
    for asked in (
        GenerationConfig(n_songs=1, seconds=0.5, primer_seconds=0.2),
        GenerationConfig(n_songs=1, seconds=0.5, primer=clip, include_primer=True),
    ):
        (path,) = songs.make(runs.load(run_dir), str(tmp_path / "songs"), asked)
        samples, rate = soundfile.read(path)
        assert rate == RATE
        assert np.isfinite(samples).all()
        assert storage.exists(path.replace(".wav", ".png"))
    assert len(samples) >= 4.5 * RATE - audio["hop_length"]
    if audio["representation"] not in ("log_stft", "activations"):  # the primer comes back
        heard, _ = soundfile.read(clip)
        gain = np.dot(samples[:12000], heard[:12000]) / np.dot(heard[:12000], heard[:12000])
        assert np.abs(samples[:12000] / gain - heard[:12000]).max() < 0.05
