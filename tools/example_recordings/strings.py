"""Plucked-string synthesis: notes to stereo samples of a guitar in a small room.

Source: Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres" (1983),
with the tuning, damping, pick and dynamics extensions of Jaffe and Smith (1983).
"""

from collections.abc import Sequence

import numba
import numpy as np
from scipy import signal

from lstm_gen.audio import frequency_scales
from tools.example_recordings import score

SAMPLE_RATE = 44100
_PEAK = 10 ** (-3 / 20)  # of the recording; full scale is 1
_STRETCH = 0.2  # weight of the older sample in the loop's two-point average, a low-pass filter
_PICK_POSITION = 0.18  # from the bridge, as a fraction of the string
_RELEASE_SECONDS = 0.06  # fade-out of a damped string
# Resonances of the body: frequency in Hz, quality factor, gain relative to the direct sound.
_BODY = ((102.0, 9.0, 0.55), (204.0, 14.0, 0.4), (421.0, 18.0, 0.22), (980.0, 12.0, 0.12))
_ROOM_SECONDS = 0.9  # reverberation time (-60 dB)
_ROOM_LEVEL = 0.16  # energy of the reverberation relative to the direct sound


def play(notes: Sequence[score.Note], seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return a recording of the notes.

    Args:
      notes: Notes; each sounds on a string of its own.
      seconds: Length of the recording.
      random: Source of the excitation noise and of the room's impulse response.

    Returns:
      float32 [samples, 2], peak at -3 dB, 44.1 kHz.
    """
    mix = np.zeros((round(seconds * SAMPLE_RATE), 2))
    for note in notes:
        start = round(note.start_seconds * SAMPLE_RATE)
        sound = _damp(pluck(note.pitch, note.velocity, note.ring_seconds, random))
        sound = sound[: len(mix) - start]
        mix[start : start + len(sound)] += sound[:, None] * _pan(note.pitch)
    mix = _add_room(_add_body(mix), random)
    return (mix * (_PEAK / max(np.abs(mix).max(), 1e-9))).astype(np.float32)


def pluck(
    pitch: float, velocity: float, ring_seconds: float, random: np.random.Generator
) -> np.ndarray:
    """Return one note of one string: float64 [samples]; the RMS of the first period is `velocity`.

    The loop of a Karplus-Strong string is one period long: whole samples in a delay line, the
    delay of the averaging filter, and an all-pass filter for the fraction of a sample.
    """
    period = SAMPLE_RATE / frequency_scales.midi_to_hz(pitch)
    omega = 2 * np.pi / period
    average = (1 - _STRETCH) + _STRETCH * np.exp(-1j * omega)
    remainder = period + float(np.angle(average)) / omega
    delay = int(
        remainder - 0.1
    )  # keeps the fraction from 0.1 to 1.1, where the all-pass filter is accurate
    fraction = remainder - delay
    allpass = np.sin((1 - fraction) * omega / 2) / np.sin((1 + fraction) * omega / 2)
    decay_seconds = 6.0 * (110.0 / frequency_scales.midi_to_hz(pitch)) ** 0.35
    gain = 10 ** (-3 * period / (SAMPLE_RATE * decay_seconds)) / abs(average)
    n_samples = round((ring_seconds + _RELEASE_SECONDS) * SAMPLE_RATE)
    burst = _pick(delay, velocity, random)
    return velocity * _ring(burst, n_samples, float(allpass), _STRETCH, float(min(gain, 0.99999)))


def _pick(length: int, velocity: float, random: np.random.Generator) -> np.ndarray:
    """Return the excitation: noise, low-passed when soft, comb-filtered by the pick's position."""
    noise = random.uniform(-1, 1, 2 * length)
    darkness = np.exp(-0.05 - 0.5 * velocity)
    soft = signal.lfilter([1 - darkness], [1, -darkness], noise)
    offset = max(1, round(_PICK_POSITION * length))
    shape = soft[length:] - soft[length - offset : 2 * length - offset]
    shape -= shape.mean()
    return np.asarray(shape / np.sqrt(np.square(shape).mean()))


@numba.njit
def _ring(
    burst: np.ndarray, n_samples: int, allpass: float, stretch: float, gain: float
) -> np.ndarray:
    """Return the string's output; the recursion prevents whole-array operations."""
    line = burst.copy()
    output = np.empty(n_samples)
    position = 0
    older = 0.0
    allpass_input = 0.0
    allpass_output = 0.0
    for index in range(n_samples):
        sample = line[position]
        output[index] = sample
        averaged = gain * ((1 - stretch) * sample + stretch * older)
        older = sample
        allpass_output = allpass * (averaged - allpass_output) + allpass_input
        allpass_input = averaged
        line[position] = allpass_output
        position = position + 1 if position + 1 < len(line) else 0
    return output


def _damp(sound: np.ndarray) -> np.ndarray:
    """Return a note with its end faded out, which prevents a click."""
    length = min(len(sound), round(_RELEASE_SECONDS * SAMPLE_RATE))
    sound[len(sound) - length :] *= np.cos(np.linspace(0, np.pi / 2, length)) ** 2
    return sound


def _pan(pitch: int) -> np.ndarray:
    """Return left and right gains of constant power: low strings left, high ones right."""
    angle = np.pi / 4 + np.clip((pitch - 60) / 24, -1, 1) * 0.35
    return np.array([np.cos(angle), np.sin(angle)])


def _add_body(mix: np.ndarray) -> np.ndarray:
    """Return the mix with the resonances of the instrument's body added."""
    result = mix.copy()
    for centre_hz, quality, gain in _BODY:
        numerator, denominator = signal.iirpeak(centre_hz, quality, fs=SAMPLE_RATE)
        result += gain * signal.lfilter(numerator, denominator, mix, axis=0)
    return result


def _add_room(mix: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the mix with reverberation: a gap, then decaying low-passed noise."""
    n_samples = round(_ROOM_SECONDS * SAMPLE_RATE)
    seconds = np.arange(n_samples) / SAMPLE_RATE
    response = random.normal(size=(n_samples, 2)) * 10 ** (-3 * seconds / _ROOM_SECONDS)[:, None]
    response[: round(0.012 * SAMPLE_RATE)] = 0
    response = signal.lfilter([0.3], [1, -0.7], response, axis=0)
    response *= _ROOM_LEVEL / np.sqrt(np.square(response).sum(axis=0))
    return mix + signal.fftconvolve(mix, response, axes=0)[: len(mix)]
