"""Short-time Fourier transform, streamed or whole, and logarithms of its power.

Arrays are frame-major: time is the slow axis, as models expect and as the FFT is fastest.
The numbers are librosa's (periodic Hann window, frames centred over zero padding), computed in
float32 in chunks that stay in cache. `inversion` is the inverse.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import scipy.fft

from lstm_gen.config.audio import AudioConfig

# 96 frames of 2048 samples and their spectrum are 1.6 MB: they stay in a core's cache.
_CHUNK_FRAMES = 96
_BLOCK_FRAMES = 128
ROUNDING = 1e-5


def n_frames(n_samples: int, audio: AudioConfig) -> int:
    """Return the number of frames: one is centred on every `hop_length`-th sample."""
    return 1 + n_samples // audio.hop_length


def stft(samples: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the short-time Fourier transform.

    Args:
      samples: float [samples].
      audio: Gives `n_fft` and `hop_length`.

    Returns:
      complex64 [frames, 1 + n_fft // 2], frames = 1 + samples // hop_length.
    """
    return np.concatenate(list(map_chunks(lambda spectrum: spectrum, [samples], audio)))


def map_chunks(
    function: Callable[[np.ndarray], np.ndarray], blocks: Iterable[np.ndarray], audio: AudioConfig
) -> Iterator[np.ndarray]:
    """Apply a function to the transform of a streamed signal, chunk by chunk.

    Frames are computed in the same chunks however the signal is cut into blocks, so the
    result does not depend on the blocks, to the bit.

    Args:
      function: Takes complex64 [frames, 1 + n_fft // 2], at least one frame.
      blocks: float [samples] each, of any lengths; together the signal.
      audio: Gives `n_fft` and `hop_length`.

    Yields:
      What the function returns for each chunk; at least one.
    """
    for span in _spans(blocks, audio):
        # No name for the transform: kept until the next chunk it would cost that one its cache.
        yield function(_transform(span, audio))


def power(spectrum: np.ndarray) -> np.ndarray:
    """Return the power of a transform, float32 of its shape."""
    return np.square(spectrum.real) + np.square(spectrum.imag)


def log_power(power: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return ln(power + log_floor), float32 of the shape of `power`."""
    return np.log(power + np.float32(audio.log_floor))


def log_to_power(logs: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the power of logarithms: the exponential less the floor, at least 0.

    Values that a float32 logarithm cannot distinguish from the floor become 0: silence stays
    silent.

    Args:
      logs: float, any shape, natural logarithm of power plus `log_floor`.
      audio: Gives `log_floor`.

    Returns:
      float32, the shape of `logs`.
    """
    floor = np.float32(audio.log_floor)
    power = np.exp(np.asarray(logs, np.float32)) - floor
    power[power < floor * np.float32(ROUNDING)] = 0
    return power


def centre_phase(frames: slice, audio: AudioConfig) -> np.ndarray:
    """Return the phase that each bin has advanced by at its centre frequency, half turns.

    Args:
      frames: First and last frame + 1, counted from the start of the sound.
      audio: The analysis.

    Returns:
      float64 [frames, bins], 0 to 2.
    """
    samples = np.arange(frames.start, frames.stop)[:, np.newaxis] * audio.hop_length % audio.n_fft
    turns = samples * np.arange(audio.n_bins_resolved) % audio.n_fft
    return turns * (2 / audio.n_fft)


@functools.cache
def hann_window(n_fft: int) -> np.ndarray:
    """Return the periodic Hann window, float32 [n_fft]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window = window.astype(np.float32)
    window.setflags(write=False)
    return window


def frame_blocks(n_frames: int) -> Iterator[slice]:
    """Yield runs of consecutive frames, so that temporary arrays stay small."""
    for start in range(0, n_frames, _BLOCK_FRAMES):
        yield slice(start, min(start + _BLOCK_FRAMES, n_frames))


def _spans(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Cut a padded signal into overlapping spans of `_CHUNK_FRAMES` frames, the last shorter."""
    padding = np.zeros(audio.n_fft // 2, np.float32)
    step = _CHUNK_FRAMES * audio.hop_length
    length = step - audio.hop_length + audio.n_fft
    pending = padding
    for block in itertools.chain(blocks, [padding]):
        pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
        start = 0
        while pending.size - start >= length:
            yield pending[start : start + length]
            start += step
        pending = pending[start:]
    if pending.size >= audio.n_fft:
        yield pending


def _transform(span: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the transform of every whole frame in a span, complex64 [frames, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(span, audio.n_fft)[:: audio.hop_length]
    return scipy.fft.rfft(frames * hann_window(audio.n_fft), axis=-1, workers=1)
