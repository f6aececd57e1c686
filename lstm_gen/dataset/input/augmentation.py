"""Windows varied as they are read: louder or quieter, upside down, higher or lower.

Each window of each epoch is varied by random numbers of its own, which the schedule draws for
its place in the stream: neither the number of devices nor a restart changes them. Shifts in
time come for free, since each epoch cuts its windows elsewhere.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import AugmentationConfig
from lstm_gen.platform import errors

_NATS_PER_DB = math.log(10) / 10  # of power


def require_fit(augment: AugmentationConfig, audio: AudioConfig) -> None:
    """Raise InputError if the frames cannot be varied so."""
    errors.require(
        not (augment.polarity and audio.is_logarithmic),
        "polarity is for frames of samples or of their transform, not of loudness; drop --polarity",
        polarity=augment.polarity,
        representation=audio.representation,
    )
    errors.require(
        augment.shift_mels == 0 or audio.representation == "log_mel",
        "shift_mels moves the bands of log_mel; leave it at 0",
        shift_mels=augment.shift_mels,
        representation=audio.representation,
    )
    errors.require(
        augment.transpose_semitones == 0 or audio.representation == "log_stft",
        "transpose_semitones stretches the bins of log_stft; leave it at 0",
        transpose_semitones=augment.transpose_semitones,
        representation=audio.representation,
    )


def require_true_labels(
    augment: AugmentationConfig, told: Collection[str], pitch_label: str
) -> None:
    """Raise InputError if sounds were moved to another pitch than a model is told they have."""
    moved = augment.transpose_semitones or augment.shift_mels
    errors.require(
        not moved or pitch_label not in told,
        f"what is transposed no longer has the {pitch_label} that the model is told; drop "
        "--transpose_semitones and --shift_mels, or do not condition on it",
        transpose_semitones=augment.transpose_semitones,
        shift_mels=augment.shift_mels,
        condition=",".join(told),
    )


def make(augment: AugmentationConfig, audio: AudioConfig) -> Callable[[Any, Any], Any]:
    """Return the function that varies a batch.

    Args:
      augment: How much.
      audio: What the frames are.

    Returns:
      (frames, float32 [batch, frames, channels], values of the representation; chances,
      float32 [batch, 4], in [0, 1)) -> frames of the same shape.

    Raises:
      InputError: If the frames cannot be varied so.
    """
    require_fit(augment, audio)

    def vary(frames: Any, chances: Any) -> Any:
        if augment.gain_db:
            gain_db = augment.gain_db * (2 * chances[:, 0] - 1)
            frames = _amplify(frames, gain_db[:, tf.newaxis, tf.newaxis], audio)
        if augment.polarity:
            frames *= tf.where(chances[:, 2] < 0.5, -1.0, 1.0)[:, tf.newaxis, tf.newaxis]
        if augment.shift_mels:
            n_shifts = 2 * augment.shift_mels + 1
            shifts = tf.cast(chances[:, 1] * n_shifts, tf.int32) - augment.shift_mels
            frames = _shift(frames, shifts, augment.shift_mels, math.log(audio.log_floor))
        if augment.transpose_semitones:
            semitones = augment.transpose_semitones * (2 * chances[:, 3] - 1)
            frames = _transpose(frames, semitones, math.log(audio.log_floor))
        return frames

    return vary


def _amplify(frames: Any, gain_db: Any, audio: AudioConfig) -> Any:
    """Return frames of sound made this much louder; silence stays at the floor."""
    nats = gain_db * _NATS_PER_DB
    if not audio.is_logarithmic:
        return frames * tf.exp(nats / 2)
    n_levels = audio.n_bins_resolved if audio.representation == "complex_stft" else audio.channels
    levels, phases = frames[..., :n_levels], frames[..., n_levels:]
    power = tf.maximum(tf.exp(levels) - audio.log_floor, 0.0)
    return tf.concat([tf.math.log(power * tf.exp(nats) + audio.log_floor), phases], axis=-1)


def _shift(frames: Any, shifts: Any, widest: int, silence: float) -> Any:
    """Return frames moved up by this many bands, int32 [batch]; silence moves in."""
    channels = frames.shape[-1]
    padded = tf.pad(frames, [[0, 0], [0, 0], [widest, widest]], constant_values=silence)
    bands = widest - shifts[:, tf.newaxis] + tf.range(channels)
    return tf.gather(padded, bands, axis=2, batch_dims=1)


def _transpose(frames: Any, semitones: Any, log_floor: float) -> Any:
    """Return frames with each bin's level where its frequency goes, float32 [batch] semitones.

    Between bins a cubic runs through the four amplitudes around (Catmull-Rom), which are smooth
    where their logarithms are not. Peaks get wider or narrower as they move, 6 % for a semitone;
    silence moves in at the top.
    """
    n_bins, silence = frames.shape[-1], math.exp(log_floor / 2)
    place = tf.range(float(n_bins)) * tf.pow(2.0, -semitones / 12)[:, tf.newaxis]
    below = tf.minimum(tf.floor(place), float(n_bins))
    # Bin -1 is bin 1, as in the transform of a real signal.
    rows = tf.exp(tf.transpose(frames, [0, 2, 1]) / 2)
    rows = tf.concat([rows[:, 1:2], rows, tf.fill(tf.shape(rows[:, :3]), silence)], axis=1)
    share = place - below
    square, cube = share**2, share**3
    weights = (
        square - (share + cube) / 2,
        1 - 2.5 * square + 1.5 * cube,
        share / 2 + 2 * square - 1.5 * cube,
        (cube - square) / 2,
    )
    first = tf.cast(below, tf.int32)
    around = (tf.gather(rows, first + i, axis=1, batch_dims=1) for i in range(4))
    moved = sum(w[:, :, tf.newaxis] * one for w, one in zip(weights, around, strict=True))
    inside = (place <= n_bins - 1)[:, :, tf.newaxis]
    amplitudes = tf.where(inside, tf.maximum(moved, silence), silence)
    return 2 * tf.math.log(tf.transpose(amplitudes, [0, 2, 1]))
