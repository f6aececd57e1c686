"""Frames become files: the sound, its picture, and what it was made from."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_gen.audio import files, inversion, plots, representations
from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import storage
from lstm_gen.runs import checkpoints, run


def write_song(path: str, frames: np.ndarray, audio: AudioConfig, songs: GenerationConfig) -> str:
    """Invert frames and write the sound and its picture; return the sound's path."""
    return write_sound(path, frames, invert(frames, audio, songs), audio, songs)


def write_sound(
    path: str,
    frames: np.ndarray,
    samples: np.ndarray,
    audio: AudioConfig,
    songs: GenerationConfig,
) -> str:
    """Write a waveform and the picture of its frames; return the sound's path."""
    sound = f"{path}.{songs.format}"
    files.write(sound, samples, audio.sample_rate, songs.subtype)
    plots.spectrogram(f"{path}.png", frames, audio, title=storage.name(path))
    return sound


def invert(frames: np.ndarray, audio: AudioConfig, songs: GenerationConfig) -> np.ndarray:
    """Return the waveform of frames, float32, one hop of samples per frame."""
    if songs.inversion == "griffin_lim" and audio.representation == "log_mel":
        samples = inversion.griffin_lim(frames, audio)
        return np.pad(samples, (0, len(frames) * audio.hop_length - samples.size))
    return representations.invert(frames, audio, INVERSION_ITERATIONS[songs.inversion_quality])


def write_settings(
    path: str,
    run_dir: str,
    index: int,
    songs: GenerationConfig,
    frames: np.ndarray,
    labels: Mapping[str, Any] | None = None,
) -> None:
    """Write beside a song what it was made from, what it is, and the hash of its frames."""
    weights = checkpoints.newest(run.model_dir(run_dir))
    made_from = {"run_dir": run_dir, "song": index, "step": weights.step if weights else None}
    values = fields.to_dict(songs) | made_from | {"labels": dict(labels or {})} | _digest(frames)
    storage.write_text(f"{path}.json", fields.to_json(values))


def _digest(frames: np.ndarray) -> dict[str, str]:
    """Return the hash of the frames, by which two makings of a song can be compared."""
    return {"frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest()}
