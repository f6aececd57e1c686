"""Datasets and runs of a size for tests, made of synthetic frames without any audio."""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.config.training import AugmentationConfig, MonitorConfig, TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest, records
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.runs import run

AUDIO = AudioConfig(sample_rate=4000, n_fft=256, hop_length=128, n_mels=8)
SETTINGS = LSTMConfig(
    head="mixture",
    patch_frames=1,
    patch_components=0,
    stored_patches=0,
    level_servo=False,
    layers=1,
    units=8,
    components=3,
)
"""Of single frames, for windows of any length."""

FAMILY_SETTINGS: dict[str, dict[str, Any]] = {
    "lstm": {
        "patch_frames": 2,
        "patch_components": 6,
        "layers": 2,
        "units": 8,
        "dropout": 0.1,
        "noise_size": 4,
        "head_blocks": 1,
        "stored_patches": 32,
    },
    "autoencoder": {"latent_size": 4, "stride": 3, "width": 8, "blocks": 1},
    "vae": {"latent_size": 3, "width": 8},
    "waveform_vae": {"strides": "4,4", "channels": "4,8", "latent_size": 3, "windows": "32,64"},
    "gan": {"noise_size": 4, "width": 8},
    "note_vae": {"noise_size": 4, "width": 8},
}
"""Of models that tests build and train in moments; a new family is tested by its name here."""

WINDOW = WindowConfig(timesteps=8, shift=1)
TRAINING = TrainingConfig(batch_size=4, steps=6, warmup_steps=1, learning_rate=0.01)
MONITOR = MonitorConfig(
    steps_per_call=2,
    validate_every_steps=3,
    checkpoint_every_steps=3,
    sample_every_steps=0,
    sample_seconds=0.5,
    n_samples=1,
)


def make_frames(n_frames: int, seed: int, n_mels: int = AUDIO.n_mels) -> np.ndarray:
    """Return frames, float32 [n_frames, n_mels], in which each says much about the next."""
    random = np.random.default_rng(seed)
    frames = np.zeros((n_frames, n_mels))
    for previous, current in itertools.pairwise(frames):
        current[:] = 0.9 * previous + 0.4 * random.standard_normal(n_mels)
    return (frames - 3).astype(np.float32)


def make_dataset(
    folder: pathlib.Path,
    train: Sequence[np.ndarray] = (make_frames(60, 1), make_frames(50, 2)),
    validation: Sequence[np.ndarray] = (make_frames(40, 3),),
) -> manifest.Dataset:
    """Write these frames as a dataset, one segment a recording and one shard a split."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"train": train, "validation": validation, "test": ()}
    shards = {name: _write_shard(folder, name, content[name]) for name in manifest.SPLITS}
    known = np.concatenate(train).astype(np.float64)
    dataset = manifest.Dataset(
        data_dir=str(folder),
        audio=AUDIO,
        segment=SegmentConfig(dtype="float32"),
        split=SplitConfig(split="recording"),
        normalisation=normalisation.Normalisation(
            mean=np.nanmean(known, axis=0).astype(np.float32),
            std=np.nanstd(known, axis=0).astype(np.float32),
        ),
        splits={
            name: manifest.Split(
                recordings=len(content[name]),
                shards=shards[name],
                seconds=sum(map(len, content[name])) / AUDIO.frames_per_second,
            )
            for name in manifest.SPLITS
        },
        plan="made by tests",
        fingerprint=manifest.fingerprint("made by tests", shards),
    )
    manifest.save_lines(str(folder), [])
    return manifest.save(dataset)


def _write_shard(
    folder: pathlib.Path, split: str, recordings: Sequence[np.ndarray]
) -> tuple[manifest.Shard, ...]:
    if not recordings:
        return ()
    name = f"{split}-00000-of-00001.tfrecord"
    content = b"".join(
        records.frame(records.encode(records.Segment(frames, index, 0)))
        for index, frames in enumerate(recordings)
    )
    (folder / name).write_bytes(content)
    shard = manifest.Shard(
        name=name,
        records=len(recordings),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        frames=tuple(len(frames) for frames in recordings),
    )
    return (shard,)


def make_run(dataset: manifest.Dataset, **training: Any) -> run.Run:
    """Return a run on a dataset, its training changed as named."""
    return run.Run(
        settings=SETTINGS,
        window=WINDOW,
        training=dataclasses.replace(TRAINING, **training),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
    )


def make_batch(n_windows: int, n_frames: int, channels: int, seed: int = 0) -> Mapping[str, Any]:
    """Return a batch of normalised windows, as numpy arrays."""
    frames = [make_frames(n_frames, seed + index, channels) + 3 for index in range(n_windows)]
    return {
        "frames": np.stack(frames),
        "weight": np.ones(n_windows, np.float32),
        "recording": np.arange(n_windows, dtype=np.int64),
        "start_frame": np.zeros(n_windows, np.int64),
        "row": np.arange(n_windows, dtype=np.int64),
    }


def flip_byte(path: pathlib.Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
