"""Augmentation of training windows: gain, polarity, mel shift, transposition.

Each window of each epoch has random numbers of its own, drawn for its place in the stream:
neither the number of devices nor a restart changes them. Shifts in time need no augmentation,
since each epoch cuts its windows from another first frame.
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
    """Raise InputError if the representation does not support an augmentation."""
    errors.require(
        not (augment.polarity and audio.is_logarithmic),
        "polarity is for waveforms and linear transforms, not for log power; drop --polarity",
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


def require_pitch_kept(
    augment: AugmentationConfig, condition: Collection[str], pitch_label: str
) -> None:
    """Raise InputError if augmentation changes the pitch that a model is conditioned on."""
    moved = augment.transpose_semitones or augment.shift_mels
    errors.require(
        not moved or pitch_label not in condition,
        f"pitch augmentation contradicts conditioning on {pitch_label}; drop "
        "--transpose_semitones and --shift_mels, or do not condition on it",
        transpose_semitones=augment.transpose_semitones,
        shift_mels=augment.shift_mels,
        condition=",".join(condition),
    )


def build(config: AugmentationConfig, audio: AudioConfig) -> Callable[[Any, Any], Any]:
    """Return the function that augments a batch.

    Args:
      config: Strength of each augmentation.
      audio: Representation of the frames.

    Returns:
      (frames, float32 [batch, frames, channels], values of the representation; uniforms,
      float32 [batch, 4], random numbers in [0, 1)) -> frames of the same shape.

    Raises:
      InputError: If the representation does not support an augmentation.
    """
    require_fit(config, audio)

    def augment(frames: Any, uniforms: Any) -> Any:
        if config.gain_db:
            gain_db = config.gain_db * (2 * uniforms[:, 0] - 1)
            frames = _amplify(frames, gain_db[:, tf.newaxis, tf.newaxis], audio)
        if config.polarity:
            frames *= tf.where(uniforms[:, 2] < 0.5, -1.0, 1.0)[:, tf.newaxis, tf.newaxis]
        if config.shift_mels:
            n_shifts = 2 * config.shift_mels + 1
            shifts = tf.cast(uniforms[:, 1] * n_shifts, tf.int32) - config.shift_mels
            frames = _shift(frames, shifts, config.shift_mels, math.log(audio.log_floor))
        if config.transpose_semitones:
            semitones = config.transpose_semitones * (2 * uniforms[:, 3] - 1)
            frames = _transpose(frames, semitones, math.log(audio.log_floor))
        return frames

    return augment


def _amplify(frames: Any, gain_db: Any, audio: AudioConfig) -> Any:
    """Return frames amplified by gains in dB; silence stays at the floor."""
    nats = gain_db * _NATS_PER_DB
    if not audio.is_logarithmic:
        return frames * tf.exp(nats / 2)
    levels, phases = frames[..., : audio.n_bands], frames[..., audio.n_bands :]
    power = tf.maximum(tf.exp(levels) - audio.log_floor, 0.0)
    return tf.concat([tf.math.log(power * tf.exp(nats) + audio.log_floor), phases], axis=-1)


def _shift(frames: Any, shifts: Any, widest: int, silence: float) -> Any:
    """Return frames shifted up by int32 [batch] bands; silence fills the gap."""
    channels = frames.shape[-1]
    padded = tf.pad(frames, [[0, 0], [0, 0], [widest, widest]], constant_values=silence)
    bands = widest - shifts[:, tf.newaxis] + tf.range(channels)
    return tf.gather(padded, bands, axis=2, batch_dims=1)


def _transpose(frames: Any, semitones: Any, log_floor: float) -> Any:
    """Return frames transposed by float32 [batch] semitones: the frequency axis is rescaled.

    Catmull-Rom interpolation over the four nearest bins, of amplitudes, which are smooth where
    their logarithms are not. Peaks get wider or narrower, 6 % for a semitone; silence fills the
    gap at the top.
    """
    n_bins, silence = frames.shape[-1], math.exp(log_floor / 2)
    place = tf.range(float(n_bins)) * tf.pow(2.0, -semitones / 12)[:, tf.newaxis]
    below = tf.minimum(tf.floor(place), float(n_bins))
    # Bin -1 equals bin 1 in the transform of a real signal.
    rows = tf.exp(tf.transpose(frames, [0, 2, 1]) / 2)
    rows = tf.concat([rows[:, 1:2], rows, tf.fill(tf.shape(rows[:, :3]), silence)], axis=1)
    fraction = place - below
    square, cube = fraction**2, fraction**3
    weights = (
        square - (fraction + cube) / 2,
        1 - 2.5 * square + 1.5 * cube,
        fraction / 2 + 2 * square - 1.5 * cube,
        (cube - square) / 2,
    )
    first = tf.cast(below, tf.int32)
    around = (tf.gather(rows, first + i, axis=1, batch_dims=1) for i in range(4))
    moved = sum(w[:, :, tf.newaxis] * one for w, one in zip(weights, around, strict=True))
    inside = (place <= n_bins - 1)[:, :, tf.newaxis]
    amplitudes = tf.where(inside, tf.maximum(moved, silence), silence)
    return 2 * tf.math.log(tf.transpose(amplitudes, [0, 2, 1]))
