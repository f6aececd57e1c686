"""Rollout benchmark: a 2 x 512 LSTM beside real time and beside a rollout without state.

Measured after compilation, without inversion, in float32 on the CPU.
"""

import statistics
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks import harness
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.lstm import head as heads
from lstm_gen.models.lstm import model as lstm
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import devices

_AUDIO = AudioConfig()
_CONFIG = LSTMConfig()
_SPEC = base.FrameSpec(audio=_AUDIO, timesteps=256, shift=_CONFIG.patch_frames)
_SECONDS = 20
_ROUNDS = 5


def rows() -> list[harness.Row]:
    """Return the rows of the rollout."""
    model = lstm.LSTMModel.create(_CONFIG, _SPEC)
    n_frames = round(_SECONDS * _AUDIO.frames_per_second)
    rerun = _rerun(model)
    times = harness.interleave(
        {
            "1 song": lambda: _roll(model, 1, n_frames),
            "16 songs": lambda: _roll(model, 16, n_frames),
            "1 window": lambda: rerun(tf.zeros([1, 256, _AUDIO.n_mels])).numpy(),
            "16 windows": lambda: rerun(tf.zeros([16, 256, _AUDIO.n_mels])).numpy(),
        },
        _ROUNDS,
    )
    one, sixteen = (statistics.median(times[name]) for name in ("1 song", "16 songs"))
    n_patches = n_frames / _CONFIG.patch_frames
    saved_one = n_patches * harness.ratio(times["1 window"], times["1 song"])
    saved_sixteen = n_patches * harness.ratio(times["16 windows"], times["16 songs"])
    audio = n_frames / _AUDIO.frames_per_second
    return [
        harness.Row(
            what="rollout, 1 song, 2 x 512",
            baseline="real time",
            value=audio / one,
            unit="x",
            target=30,
            detail=f"{one / n_frames * 1e3:.2f} ms a frame",
        ),
        harness.Row(
            what="rollout, 16 songs, 2 x 512",
            baseline="real time, all songs added",
            value=16 * audio / sixteen,
            unit="x",
            target=200,
            detail=f"{sixteen / n_frames * 1e3:.2f} ms a frame of all",
        ),
        harness.Row(
            what="rollout per patch, 16 songs",
            baseline="recomputing a 256-frame window for each patch",
            value=saved_sixteen,
            unit="x",
            target=100,
            detail=f"{saved_one:.0f}x for a single song",
        ),
    ]


def _rerun(model: lstm.LSTMModel) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a compiled function that computes one patch from a whole window."""

    @tf.function(jit_compile=devices.compiles_with_xla())
    def rerun(frames: tf.Tensor) -> tf.Tensor:
        codes = model.coder(frames)
        with devices.portable():
            hidden, current = model(codes)[:, -1], codes[:, -1]
        n_songs = frames.shape[0]
        draws = heads.Draws(tf.zeros([n_songs, model.head.n_normal]), tf.zeros([n_songs]))
        return model.coder.decode(model.head.sample(hidden, current, draws, model.head.constants()))

    return rerun


def _roll(model: lstm.LSTMModel, n_songs: int, n_frames: int) -> np.ndarray:
    request = base.GenerationRequest(n_songs=n_songs, n_frames=n_frames)
    primer = np.zeros([n_songs, 1, _AUDIO.n_mels], np.float32)
    return model.generate(request, primer, lambda _: None)
