from collections.abc import Iterator

import numpy as np

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.lstm import loudness

CHANNELS = 5
STD = np.array([1.0, 2.0, 0.5, 1.0, 3.0], np.float32)
STATISTICS = normalisation.Normalisation(mean=np.zeros(CHANNELS, np.float32), std=STD)


def make_signal(audio: AudioConfig) -> base.FrameSpec:
    return base.FrameSpec(audio=audio, timesteps=8, shift=1, statistics=STATISTICS)


def examples() -> Iterator[base.Batch]:
    random = np.random.default_rng(0)
    for _ in range(3):
        frames = random.standard_normal((4, 9, CHANNELS)).astype(np.float32)
        frames[3] = 100.0  # padding
        yield {"frames": frames, "weight": np.array([1, 1, 1, 0], np.float32)}


def make_clamp() -> loudness.LoudnessClamp:
    clamp = loudness.LoudnessClamp()
    clamp.build((None, None, CHANNELS))
    return clamp


def test_training_frames_stay_and_louder_ones_are_lowered_in_all_channels() -> None:
    clamp = make_clamp()
    clamp.fit(make_signal(AudioConfig(n_mels=CHANNELS)), examples)
    training = np.concatenate([batch["frames"][:3].reshape(-1, CHANNELS) for batch in examples()])
    np.testing.assert_allclose(clamp(training, STD), training, atol=1e-5)
    loud = training.max(axis=0)[np.newaxis] - 0.1  # each value occurs, but never all at once
    lowered = clamp(loud, STD).numpy()
    nats = (loud - lowered) * STD
    assert nats.min() > 0.5
    np.testing.assert_allclose(nats, nats[0, 0], atol=1e-4)
    np.testing.assert_allclose(
        (lowered * STD).mean(), (training * STD).mean(axis=1).max(), atol=1e-4
    )
    assert (clamp(loud + 50, STD).numpy() <= training.max(axis=0)).all()


def test_unfitted_and_for_waveforms_it_is_the_identity() -> None:
    clamp = make_clamp()
    loud = np.full((2, CHANNELS), 1e4, np.float32)
    np.testing.assert_array_equal(clamp(loud, STD), loud)
    waves = AudioConfig(representation="waveform", hop_length=CHANNELS)
    clamp.fit(make_signal(waves), examples)
    np.testing.assert_array_equal(clamp(loud, STD), loud)
