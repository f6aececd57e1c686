"""Output of generation: a sound file, a picture of its spectrogram and its settings as JSON."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tqdm

from lstm_gen.audio import files, inversion, plots, representations
from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels
from lstm_gen.generation import request
from lstm_gen.platform import storage
from lstm_gen.runs import run as runs

_Item = TypeVar("_Item")


class Sound(NamedTuple):
    """A generated or reconstructed sound.

    Attributes:
      name: File name without extension.
      frames: float32 [frames, channels], of the run's representation, not normalised.
      samples: float32 [samples] at the run's sample rate.
      labels: Conditioning labels.
      song: Index of the song.
      attempt: Times that it was drawn again, because what was drawn failed.
    """

    name: str
    frames: np.ndarray
    samples: np.ndarray
    labels: Mapping[str, labels.Value]
    song: int = 0
    attempt: int = 0


def invert(frames: np.ndarray, audio: AudioConfig, config: GenerationConfig) -> np.ndarray:
    """Return the waveform of frames, float32, one hop of samples per frame."""
    if config.inversion == "griffin_lim" and audio.representation == "log_mel":
        samples = inversion.griffin_lim(frames, audio)
        return np.pad(samples, (0, len(frames) * audio.hop_length - samples.size))
    return representations.invert(frames, audio, INVERSION_ITERATIONS[config.inversion_quality])


def show_inversion(sounds: Collection[_Item], shown: bool) -> Iterator[_Item]:
    """Yield sounds that are inverted one after the other, with a progress bar on stderr."""
    with tqdm.tqdm(
        sounds, desc="inverting", unit="sound", leave=False, delay=1e-3, disable=not shown
    ) as bar:
        yield from bar


def write(output_dir: str, sound: Sound, run: runs.Run, config: GenerationConfig) -> str:
    """Write a sound, its picture and its settings; return the path of the sound file."""
    path = storage.join(output_dir, sound.name)
    file = f"{path}.{config.format}"
    files.write(file, sound.samples, run.audio.sample_rate, config.subtype)
    plots.spectrogram(f"{path}.png", sound.frames, run.audio, title=sound.name)
    storage.write_text(f"{path}.json", fields.to_json(_settings(sound, run, config)))
    return file


def _settings(sound: Sound, run: runs.Run, config: GenerationConfig) -> dict[str, Any]:
    """Return the settings, the weights and the labels of a sound, and the hash of its frames.

    Equal hashes prove that two machines have generated the same frames.
    """
    weights, used = run.weights(), dataclasses.asdict(request.sampling(config, run))
    return (
        fields.to_dict(config)
        | {name: value for name, value in used.items() if name in run.family.controls}
        | {
            "run_dir": run.directory,
            "song": sound.song,
            "attempt": sound.attempt,
            "step": weights.step if weights else None,
            "labels": dict(sound.labels),
            "frames_sha256": hashlib.sha256(sound.frames.tobytes()).hexdigest(),
        }
    )
