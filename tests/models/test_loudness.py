from collections.abc import Iterator

import numpy as np
import pytest

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.common import loudness

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


AUDIO = AudioConfig(n_mels=CHANNELS, sample_rate=4000, hop_length=1000)  # four frames a second
WINDOW = 8  # frames of the two seconds over which the level is averaged


def make_servo(step_frames: int = 2, audio: AudioConfig = AUDIO) -> loudness.LevelServo:
    servo = loudness.LevelServo(make_signal(audio), step_frames)
    servo.build()
    return servo


def levels_of(frames: np.ndarray) -> np.ndarray:
    """Return the mean logarithm of the power of frames, in nats, over all of them."""
    return np.asarray(np.log(np.exp(np.float64(frames) * STD).sum(axis=-1)).mean(axis=-1))


def test_level_is_that_of_the_last_two_seconds() -> None:
    frames = next(examples())["frames"][:3]
    np.testing.assert_allclose(
        make_servo().level(frames), levels_of(frames[:, -WINDOW:]), rtol=1e-5
    )
    short = frames[:, :3]
    np.testing.assert_allclose(make_servo().level(short), levels_of(short), rtol=1e-5)


def test_limits_are_percentiles_of_the_levels_of_training_windows() -> None:
    servo = make_servo()
    servo.fit(examples)
    levels = np.concatenate([levels_of(batch["frames"][:3, :WINDOW]) for batch in examples()])
    expected = np.percentile(levels, [5, 95])
    np.testing.assert_allclose([servo.lowest, servo.highest], expected, rtol=1e-5)


def test_a_song_within_the_limits_stays_and_its_level_follows() -> None:
    servo = make_servo()
    frames = next(examples())["frames"][:3, :2]
    for _ in range(2):  # unfitted, and fitted
        inside = np.full(3, float(servo.lowest + servo.highest) / 2, np.float32)
        after, level = servo(frames, inside, inside)
        np.testing.assert_array_equal(after, frames)
        expected = 0.75 * inside + 0.25 * levels_of(frames)
        np.testing.assert_allclose(level, expected, rtol=1e-5)
        servo.fit(examples)


def test_a_song_outside_returns_at_the_pace_of_the_window() -> None:
    servo = make_servo()
    servo.fit(examples)
    lowest, highest = float(servo.lowest), float(servo.highest)
    frames = next(examples())["frames"][:2, :2]
    before = np.array([lowest - 4, highest + 2], np.float32)
    after, level = servo(frames, before, before)
    # A quarter of what is missing, in nats the same in every band: a step is a quarter of a window.
    nats = (after - frames) * STD
    np.testing.assert_allclose(nats[0], np.full((2, CHANNELS), 1.0), atol=1e-4)
    np.testing.assert_allclose(nats[1], np.full((2, CHANNELS), -0.5), atol=1e-4)
    np.testing.assert_allclose(level, 0.75 * before + 0.25 * levels_of(after), rtol=1e-4)


def test_a_song_that_is_always_continued_as_it_was_comes_back() -> None:
    servo = make_servo()
    servo.fit(examples)
    frames = next(examples())["frames"][:1, :2] - 5 / STD
    level = primer = levels_of(frames).astype(np.float32)
    assert level[0] < float(servo.lowest) - 3
    for _ in range(40):
        frames, level = servo(frames, level, primer)  # the model repeats the last step
    assert float(servo.lowest) - 0.1 < level[0] < float(servo.highest)


@pytest.mark.parametrize(
    ("limits", "primer", "wanted"),
    [
        ((-5.0, 5.0), 1.0, (0.3, 1.7)),
        ((-5.0, 5.0), -9.0, (-5.0, -3.6)),
        ((-5.0, 5.0), 9.0, (3.6, 5.0)),
        ((-0.4, 0.6), 0.5, (-0.4, 0.6)),  # music of nearly one level
    ],
)
def test_level_stays_near_the_primers_within_the_limits(
    limits: tuple[float, float], primer: float, wanted: tuple[float, float]
) -> None:
    servo = make_servo(step_frames=WINDOW)  # all that is missing in a step
    servo.lowest.assign(limits[0])
    servo.highest.assign(limits[1])
    levels = np.linspace(-8, 8, 33, dtype=np.float32)
    frames = np.zeros((33, WINDOW, CHANNELS), np.float32)
    after, _ = servo(frames, levels, np.full(33, primer, np.float32))
    gains = np.asarray(after)[:, 0, 0] * STD[0]
    np.testing.assert_allclose(levels + gains, np.clip(levels, *wanted), atol=1e-5)


def test_frames_without_power_have_no_level() -> None:
    servo = make_servo(audio=AudioConfig(representation="waveform", hop_length=CHANNELS))
    servo.fit(examples)
    frames = next(examples())["frames"][:3, :2]
    np.testing.assert_array_equal(servo.level(frames), np.zeros(3))
    after, level = servo(frames, servo.level(frames), servo.level(frames))
    np.testing.assert_array_equal(after, frames)
    np.testing.assert_array_equal(level, np.zeros(3))


def test_loudness_is_the_log_of_total_power_and_flux_the_mean_rise() -> None:
    frames = np.log(np.array([[1.0, 3.0], [2.0, 2.0], [8.0, 1.0]]))
    np.testing.assert_allclose(loudness.measure(frames), np.log([4.0, 4.0, 9.0]))
    np.testing.assert_allclose(loudness.flux(frames), [np.log(2) / 2, np.log(4) / 2])


def test_frames_without_power_or_with_phases_have_no_limits() -> None:
    assert loudness.has_loudness(AudioConfig())
    assert not loudness.has_loudness(AudioConfig(representation="waveform"))
    assert not loudness.has_loudness(AudioConfig(representation="complex_stft"))
