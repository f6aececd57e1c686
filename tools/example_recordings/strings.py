"""Strings, plucked and bowed, as single notes.

Plucked: Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres" (1983), with the
tuning, damping, pick and dynamics extensions of Jaffe and Smith (1983). Bowed: a sum of partials
with vibrato, a slow attack and bow noise.
"""

import numba
import numpy as np
from scipy import signal

from lstm_gen.audio import frequency_scales

SAMPLE_RATE = 44100
RELEASE_SECONDS = 0.06  # fade-out of a damped note
_STRETCH = 0.2  # weight of the older sample in the loop's two-point average, a low-pass filter
_PICK_POSITION = 0.18  # from the bridge, as a fraction of the string
_VIBRATO_HZ, _VIBRATO_CENTS, _VIBRATO_AFTER_SECONDS = 5.3, 12.0, 0.2
_BOW_ATTACK_SECONDS = 0.03
_BOW_PARTIALS, _BOW_HIGHEST_HZ = 16, 9000.0


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
    # So the fraction is from 0.1 to 1.1, where the all-pass filter is accurate.
    delay = int(remainder - 0.1)
    fraction = remainder - delay
    allpass = np.sin((1 - fraction) * omega / 2) / np.sin((1 + fraction) * omega / 2)
    decay_seconds = 6.0 * (110.0 / frequency_scales.midi_to_hz(pitch)) ** 0.35
    gain = 10 ** (-3 * period / (SAMPLE_RATE * decay_seconds)) / abs(average)
    n_samples = round((ring_seconds + RELEASE_SECONDS) * SAMPLE_RATE)
    burst = _pick(delay, velocity, random)
    return velocity * _ring(burst, n_samples, float(allpass), _STRETCH, float(min(gain, 0.99999)))


def bow(
    pitch: float, velocity: float, ring_seconds: float, random: np.random.Generator
) -> np.ndarray:
    """Return one bowed note: float64 [samples]; its RMS is about half the velocity."""
    n_samples = round((ring_seconds + RELEASE_SECONDS) * SAMPLE_RATE)
    seconds = np.arange(n_samples) / SAMPLE_RATE
    depth = np.clip((seconds - _VIBRATO_AFTER_SECONDS) / 0.3, 0, 1) * _VIBRATO_CENTS / 1200
    bent = 2 ** (depth * np.sin(2 * np.pi * _VIBRATO_HZ * seconds))
    frequency_hz = frequency_scales.midi_to_hz(pitch)
    angle = 2 * np.pi * np.cumsum(frequency_hz * bent) / SAMPLE_RATE + random.uniform(0, np.pi)
    before, partial, twice = np.zeros(n_samples), np.sin(angle), 2 * np.cos(angle)
    sound = np.zeros(n_samples)
    for number in range(1, _BOW_PARTIALS + 1):
        if number * frequency_hz > _BOW_HIGHEST_HZ:
            break
        sound += partial * number ** -(2.2 - 1.2 * velocity)
        before, partial = partial, twice * partial - before  # sin((k + 1) x) of the two before
    noise = signal.lfilter([0.06], [1, -0.9], random.normal(size=n_samples))
    attack = np.clip(seconds / _BOW_ATTACK_SECONDS, 0, 1) ** 2
    settle = 0.7 + 0.3 * np.exp(-seconds / 0.12)  # it speaks, then sustains
    return np.asarray(0.62 * velocity * attack * settle * (sound + 0.15 * velocity * noise))


def damp(sound: np.ndarray) -> np.ndarray:
    """Return a note with its end faded out, which prevents a click."""
    length = min(len(sound), round(RELEASE_SECONDS * SAMPLE_RATE))
    sound[len(sound) - length :] *= np.cos(np.linspace(0, np.pi / 2, length)) ** 2
    return sound


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
