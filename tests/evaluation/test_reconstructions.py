"""Reconstructions: metrics against closed forms and NumPy's SVD, and an evaluation."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import processes
import pytest
import soundfile
import tiny

from lstm_gen.cli import evaluate
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.training import AugmentationConfig, TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.evaluation import reconstructions
from lstm_gen.models import base
from lstm_gen.models.autoencoder import model as autoencoder
from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.runs import run as runs

SPEC = base.FrameSpec(audio=AudioConfig(n_mels=6), timesteps=8, shift=0)
SEGMENTS = [tiny.make_frames(n, seed, 6) for seed, n in enumerate((24, 31, 24, 8))]


def test_variance_explained_is_relative_to_the_mean_spectrum() -> None:
    mean = np.concatenate(SEGMENTS).mean(axis=0)
    halved = [mean + (segment - mean) / 2 for segment in SEGMENTS]
    halfway = reconstructions.variance_explained(SEGMENTS, halved, SPEC, mean)
    assert halfway == pytest.approx(0.75, abs=1e-5)
    still = [np.broadcast_to(mean, segment.shape) for segment in SEGMENTS]
    assert reconstructions.variance_explained(SEGMENTS, still, SPEC, mean) == pytest.approx(
        0, abs=1e-6
    )
    assert reconstructions.variance_explained(SEGMENTS, SEGMENTS, SPEC, mean) == 1


def test_phases_of_silent_bins_do_not_count() -> None:
    audio = AudioConfig(representation="complex_stft", n_fft=32, hop_length=8)
    spec = dataclasses.replace(SPEC, audio=audio)
    frames = np.zeros((5, audio.channels), np.float32)
    frames[:, 1:17] = -14  # nats below the only bin that sounds
    noisy = frames.copy()
    noisy[:, 18:] = 1
    mean = frames.mean(axis=0) - 1
    assert reconstructions.variance_explained([frames], [noisy], spec, mean) == 1
    noisy[:, 17] = 1
    assert reconstructions.variance_explained([frames], [noisy], spec, mean) < 1


def test_window_means_replace_each_window() -> None:
    (first, *_), segment = reconstructions.window_means(SEGMENTS[1:2], 8), SEGMENTS[1]
    assert first.shape == segment.shape
    np.testing.assert_allclose(first[3], segment[:8].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(first[30], segment[24:].mean(axis=0), rtol=1e-5)


def test_patch_pca_is_that_of_a_singular_value_decomposition() -> None:
    rate = reconstructions.Rate(size=5, stride=4)
    code = reconstructions.patch_pca(SEGMENTS, rate)
    assert code is not None
    whole = [segment[: len(segment) // 4 * 4] for segment in SEGMENTS[::2]]
    fitted = reconstructions.patch_pca(whole, rate)
    assert fitted is not None
    patches = np.concatenate(whole).reshape(-1, 24)
    mean = patches.mean(axis=0)
    vectors = np.linalg.svd(patches - mean, full_matrices=False)[2][:5]
    wanted = (whole[0].reshape(-1, 24) - mean) @ vectors.T @ vectors + mean
    np.testing.assert_allclose(fitted(whole[0]), wanted.reshape(whole[0].shape), atol=1e-4)
    assert code(SEGMENTS[1]).shape == SEGMENTS[1].shape  # 31 frames, which no patch divides
    assert reconstructions.patch_pca(SEGMENTS, reconstructions.Rate(size=5, stride=2000)) is None


@pytest.mark.parametrize(
    ("size", "stride", "patch", "per_second"),
    [(16, 4, (4, 16), 400), (16, 1, (1, 16), 1600), (8, 0.5, (1, 16), 1600)],
)
def test_rates(size: int, stride: float, patch: tuple[int, int], per_second: float) -> None:
    rate = reconstructions.Rate(size=size, stride=stride)
    assert rate.patch == patch
    assert rate.per_second(100) == per_second


def test_rate_and_reconstructions_of_a_model() -> None:
    settings = AutoencoderConfig(latent_size=3, stride=4, width=4, blocks=1)
    model = autoencoder.Autoencoder.create(settings, SPEC)
    rate = reconstructions.measure_rate(model, {})
    assert rate == reconstructions.Rate(size=3, stride=4)
    made = reconstructions.reconstruct(model, SEGMENTS, {})
    for one, segment in zip(made, SEGMENTS, strict=True):
        alone = np.asarray(model(segment[np.newaxis]))[0]
        np.testing.assert_allclose(one, alone, rtol=1e-4, atol=1e-5)


def test_noise_a_tenth_as_loud_is_20_db() -> None:
    random = np.random.default_rng(0)
    true, noise = random.standard_normal((2, 10_000))
    made = true + 0.1 * noise * np.linalg.norm(true) / np.linalg.norm(noise)
    assert reconstructions.snr_db(true, made) == pytest.approx(20)


@pytest.mark.parametrize(("pitch", "off_cents"), [(30, 0), (60, 30), (90, -20), (60, 1200)])
def test_pitch_errors_are_those_of_the_tones(pitch: float, off_cents: float) -> None:
    f0 = 440 * 2 ** ((pitch - 69 + off_cents / 100) / 12)
    time = np.arange(32000) / 16000
    harmonics = [np.sin(2 * np.pi * n * f0 * time) / n for n in range(1, 5) if n * f0 < 7000]
    note = (0.1 * np.sum(harmonics, axis=0) * np.exp(-time)).astype(np.float32)
    found = reconstructions.pitch_error_cents(note, 16000, pitch)
    assert found == pytest.approx(abs(off_cents), abs=5)
    assert reconstructions.pitch_error_cents(np.zeros(32000, np.float32), 16000, 60) == np.inf


def _make_notes(folder: pathlib.Path) -> None:
    """Write a second of tone for each of some pitches."""
    folder.mkdir()
    for pitch in (57, 58, 59, 60, 61, 62):
        time = np.arange(8000) / 8000
        tone = 0.3 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-time)
        soundfile.write(folder / f"tone_{pitch}.wav", tone, 8000)


def _make_run(folder: pathlib.Path, dataset: manifest.Dataset, **settings: Any) -> str:
    """Write a run that is linear still: its principal components, and nothing trained."""
    run = runs.Run(
        settings=AutoencoderConfig(width=4, blocks=1, **settings),
        window=WindowConfig(timesteps=8, shift=0),
        training=TrainingConfig(batch_size=4, steps=1),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
        vocabulary=dataset.labels,
    )
    runs.open_or_create(str(folder), run)
    runs.save_model(str(folder), run.build_model(), 7, {})
    return str(folder)


def test_held_out_notes_are_compared_as_frames_and_as_sound(tmp_path: pathlib.Path) -> None:
    notes, data_dir = tmp_path / "notes", tmp_path / "dataset"
    _make_notes(notes)
    made = processes.run_python(
        "create_tfrecord.py", f"--input_dir={notes}", f"--data_dir={data_dir}", "--workers=1",
        "--representation=log_stft", "--sample_rate=8000", "--n_fft=512", "--hop_length=128",
        "--trim_db=0", "--split=pattern", "--validation_pattern=_60", "--labels=pattern",
        r"--labels_pattern=_(?P<pitch>\d+)",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    dataset = manifest.load(str(data_dir))
    run_dirs = [
        _make_run(tmp_path / name, dataset, latent_size=size, stride=2)
        for name, size in (("narrow", 2), ("wide", 20))
    ]
    settings = EvaluationConfig(
        what="reconstructions", run_dir=tuple(run_dirs), input_dir=str(notes), pitch_label="pitch"
    )
    text = evaluate.evaluate(settings, ["/cpu:0"])
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    inverted = rows["inverted without a model"]
    assert "1 of 1 | 1 of 1 |" in inverted
    for run_dir, size in zip(run_dirs, (2, 20), strict=True):
        assert f"| 7 | {size} per 2 frames | {size * 31.25:,.0f} |" in rows[run_dir]
        assert "| 1 of 1 |" in rows[run_dir]  # as long as it was
        assert f"patch PCA {size} per 2 frames" in rows
