from collections.abc import Iterator

import numpy as np

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.lstm import loudness_clamp

CHANNELS = 5
STD = np.array([1.0, 2.0, 0.5, 1.0, 3.0], np.float32)
STATISTICS = normalisation.Normalisation(mean=np.zeros(CHANNELS, np.float32), std=STD)


def make_signal(audio: AudioConfig) -> base.FrameSpec:
    return base.FrameSpec(audio=audio, timesteps=8, shift=1, statistics=STATISTICS)


def examples() -> Iterator[base.Batch]:
    random = np.random.default_rng(0)
    for _ in range(3):
        frames = random.standard_normal((4, 9, CHANNELS)).astype(np.float32)
        frames[3] = 100.0  # padding, which nobody hears
        yield {"frames": frames, "weight": np.array([1, 1, 1, 0], np.float32)}


def make_bound() -> loudness_clamp.LoudnessBound:
    bound = loudness_clamp.LoudnessBound()
    bound.build((None, None, CHANNELS))
    return bound


def test_what_was_heard_stays_and_what_is_louder_is_lowered_alike() -> None:
    bound = make_bound()
    bound.fit(make_signal(AudioConfig(n_mels=CHANNELS)), examples)
    heard = np.concatenate([batch["frames"][:3].reshape(-1, CHANNELS) for batch in examples()])
    np.testing.assert_allclose(bound(heard, STD), heard, atol=1e-5)
    loud = np.tile(heard.max(axis=0) - 0.1, (1, 1))  # each channel heard, but never all at once
    lowered = bound(loud, STD).numpy()
    nats = (loud - lowered) * STD
    assert nats.min() > 0.5
    np.testing.assert_allclose(nats, nats[0, 0], atol=1e-4)
    np.testing.assert_allclose((lowered * STD).mean(), (heard * STD).mean(axis=1).max(), atol=1e-4)
    assert (bound(loud + 50, STD).numpy() <= heard.max(axis=0)).all()


def test_before_it_is_fitted_and_for_samples_nothing_is_bounded() -> None:
    bound = make_bound()
    loud = np.full((2, CHANNELS), 1e4, np.float32)
    np.testing.assert_array_equal(bound(loud, STD), loud)
    waves = AudioConfig(representation="waveform", hop_length=CHANNELS)
    bound.fit(make_signal(waves), examples)
    np.testing.assert_array_equal(bound(loud, STD), loud)
