"""Where harmonics lie, held against tones; levels and steps, there and back."""

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.audio import normalisation, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.notes import harmonic_encoding, spectrogram_image
from lstm_gen.platform import errors

AUDIO = AudioConfig(
    sample_rate=16000, representation="complex_stft", n_fft=2048, hop_length=512, n_bins=512
)


def tone(midi: float, seconds: float = 1.0) -> np.ndarray:
    """Return a note of five harmonics."""
    f0 = 440.0 * 2.0 ** ((midi - 69) / 12)
    turns = np.arange(round(seconds * AUDIO.sample_rate)) / AUDIO.sample_rate * f0
    return sum(0.1 * np.cos(2 * np.pi * h * turns + h) for h in range(1, 6)).astype(np.float32)


def make_signal(channels: int = AUDIO.channels) -> base.FrameSpec:
    random = np.random.default_rng(0)
    statistics = normalisation.Normalisation(
        mean=random.standard_normal(channels).astype(np.float32),
        std=random.uniform(0.5, 2, channels).astype(np.float32),
    )
    return base.FrameSpec(audio=AUDIO, timesteps=16, shift=0, statistics=statistics)


@pytest.mark.parametrize("midi", [33.0, 52.5, 69.0, 96.0])
def test_lobes_and_steps_are_those_of_a_tone(midi: float) -> None:
    frames = representations.extract(tone(midi), AUDIO)[8:20]
    power, steps = frames[:, :512], frames[:, 512:]
    grid = harmonic_encoding.encode(tf.constant([midi]), AUDIO).numpy()[0]
    assert grid.shape == (512, harmonic_encoding.CHANNELS)
    reach = 5.5 * 440.0 * 2.0 ** ((midi - 69) / 12) * AUDIO.n_fft / AUDIO.sample_rate
    inside = np.arange(512) < reach
    top = grid[:, 2] > 0.8
    n_partials = min(5, int(4000 / (440.0 * 2.0 ** ((midi - 69) / 12))))
    assert n_partials <= (top & inside).sum() <= 2 * n_partials
    # Where the lobe is high there is a partial, which turns as the channel says.
    assert power[:, top & inside].min() > power.max() - 9
    error = np.abs((steps - grid[:, 3] + 1) % 2 - 1)[:, top & inside]
    assert np.median(error) < 0.01
    assert error.max() < 0.05


def test_what_is_not_known_is_zero_and_classes_are_notes() -> None:
    pitch = base.Condition(name="pitch", kind="class", n_values=2, values=("60", "69"))
    midi = harmonic_encoding.midi_numbers(pitch, tf.constant([1, -1, 0], tf.int64))
    np.testing.assert_array_equal(midi, np.array([69, np.nan, 60], np.float32))
    grid = harmonic_encoding.encode(midi, AUDIO).numpy()
    assert np.isfinite(grid).all()
    assert not grid[1].any()
    assert grid[0].any()
    # A440 is bin 56.32: a lobe there, a step of 0.32 bins, which is a quarter of 0.64 half turns.
    assert grid[0, 56, 2] == pytest.approx(np.exp(-0.5 * 0.32**2), abs=1e-4)
    assert grid[0, 56, 3] == pytest.approx(0.16, abs=1e-4)


def test_a_pitch_between_two_classes_is_between_their_notes() -> None:
    pitch = base.Condition(name="pitch", kind="class", n_values=2, values=("60", "72"))
    found = harmonic_encoding.midi_numbers(pitch, tf.constant([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    np.testing.assert_allclose(found, [60, 66, 72])
    np.testing.assert_array_equal(
        harmonic_encoding.midi_numbers(pitch, tf.constant([1, -1])), [72, np.nan]
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (base.Condition(name="mood", kind="multi", n_values=2), "one number or one class"),
        (
            base.Condition(name="player", kind="class", n_values=2, values=("eve", "joe")),
            "must be MIDI note numbers.*eve",
        ),
    ],
)
def test_what_is_no_pitch_is_refused(condition: base.Condition, message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        harmonic_encoding.midi_numbers(condition, tf.zeros([1], tf.int64))


def test_levels_and_steps_come_back_to_frames() -> None:
    spec = make_signal()
    raw = representations.extract(tone(60), AUDIO)[:16]
    frames = (raw - spec.mean) / spec.std
    image, loudness = spectrogram_image.from_frames(tf.constant(frames[np.newaxis]), spec)
    assert image.shape == (1, 16, 512, 2)
    assert image.numpy()[..., 0].max() == pytest.approx(1)
    assert image.numpy()[..., 0].min() >= -1
    assert not image.numpy()[:, 0, :, 1].any()  # the phase itself says nothing
    back = spectrogram_image.to_frames(image, loudness, spec).numpy()[0] * spec.std + spec.mean
    loud = image.numpy()[0, ..., 0] > -0.5
    np.testing.assert_allclose(back[:, :512][loud], raw[:, :512][loud], atol=1e-3)
    np.testing.assert_allclose(back[1:, 512:][loud[1:]], raw[1:, 512:][loud[1:]], atol=1e-5)
    silent = image.numpy()[0, ..., 0] < -0.76
    assert not image.numpy()[0, ..., 1][silent].any()


def test_twice_as_loud_moves_the_loudness_alone() -> None:
    spec = make_signal()
    raw = representations.extract(tone(60), AUDIO)[:16]
    louder = raw + np.float32(np.log(4.0)) * (np.arange(1024) < 512)
    pair = np.stack([raw, louder]).astype(np.float32)
    image, loudness = spectrogram_image.from_frames(
        (tf.constant(pair) - spec.mean) / spec.std, spec
    )
    np.testing.assert_allclose(image[0], image[1], atol=1e-3)
    risen = float(loudness[1, 0] - loudness[0, 0])
    assert risen == pytest.approx(20 * np.log10(2) / 40, abs=1e-4)


def test_levels_are_referred_to_the_loudest_of_each_example() -> None:
    level = tf.constant([[[0.2, -0.9], [-1.0, 0.5]], [[1.0, -1.0], [0.0, 0.3]]])
    expected = [[[0.7, -0.4], [-0.5, 1.0]], [[1.0, -1.0], [0.0, 0.3]]]
    np.testing.assert_allclose(spectrogram_image.peak_normalised(level), expected, atol=1e-6)
    too_loud = spectrogram_image.peak_normalised(tf.constant([[[1.4, -0.9]]]))
    np.testing.assert_allclose(too_loud, [[[1.0, -1.0]]], atol=1e-6)
    db = tf.constant([0.0, -20.0, -40.0, -80.0])
    np.testing.assert_allclose(
        spectrogram_image.amplitude(1 + db / 40), [1, 0.1, 0.01, 1e-4], rtol=1e-5
    )


def test_a_first_frame_of_levels_alone_still_sounds_as_the_tone() -> None:
    """The phase that is left out costs neither pitch nor level."""
    spec = make_signal()
    samples = tone(60)
    raw = representations.extract(samples, AUDIO)
    image, loudness = spectrogram_image.from_frames(
        tf.constant(((raw - spec.mean) / spec.std)[np.newaxis]), spec
    )
    frames = spectrogram_image.to_frames(image, loudness, spec).numpy()[0] * spec.std + spec.mean
    sound = representations.invert(frames, AUDIO, 8, samples.size)[2048:-2048]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size)))
    true = np.abs(np.fft.rfft(samples[2048:-2048] * np.hanning(sound.size)))
    peaks = np.argsort(true)[-5:]
    np.testing.assert_allclose(spectrum[peaks], true[peaks], rtol=0.1)


def test_other_representations_are_refused() -> None:
    for audio in (
        AudioConfig(),
        AudioConfig(representation="complex_stft", phase="real_imaginary"),
    ):
        with pytest.raises(errors.InputError, match="--phase=instantaneous_frequency"):
            spectrogram_image.require_phase(audio)
