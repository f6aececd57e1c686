"""Arrays fitted to training frames: the dictionary of notes, the map of the start spectrum."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import non_negative_factorization

from lstm_gen.audio import (
    dictionary,
    fitted,
    frequency_scales,
    inversion,
    representations,
    start_spectrum,
    stft,
)
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

RATE = 8000
MEL = AudioConfig(sample_rate=RATE, n_fft=512, hop_length=128, n_mels=48)
ATOMS = dataclasses.replace(MEL, representation="activations", n_atoms=6)
MIDI = (57, 60, 64, 67, 69, 72)
REMEDY = "make it again"


def note(midi: float, seconds: float = 0.5) -> np.ndarray:
    """Return a struck note of six harmonics, float32 [samples]."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = frequency_scales.midi_to_hz(midi)
    partials = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 7))
    return (0.2 * np.exp(-3 * time) * partials).astype(np.float32)


def power_of(samples: np.ndarray) -> np.ndarray:
    return stft.power(stft.stft(samples, MEL))


@pytest.fixture(scope="module")
def learnt() -> AudioConfig:
    """Return the analysis whose dictionary is fitted to six notes, one after another."""
    return fitted.attach(ATOMS, fitted.fit([power_of(note(midi)) for midi in MIDI], ATOMS))


def strongest(audio: AudioConfig, midi: int) -> int:
    """Return the atom of a note."""
    return int(representations.extract(note(midi), audio)[8:20].mean(axis=0).argmax())


def test_each_note_has_its_atom(learnt: AudioConfig) -> None:
    found = [strongest(learnt, midi) for midi in MIDI]
    assert sorted(found) == list(range(len(MIDI)))


@pytest.mark.parametrize("pair", [(57, 64), (60, 72), (64, 69)])
def test_a_chord_is_the_sum_of_its_notes(learnt: AudioConfig, pair: tuple[int, int]) -> None:
    """A chord's loudest two atoms are those of its notes, and no other has a tenth of them."""
    chord = representations.extract(note(pair[0]) + note(pair[1]), learnt)[8:20]
    loudness = np.exp(chord).mean(axis=0)
    atoms = {strongest(learnt, midi) for midi in pair}
    assert set(np.argsort(loudness)[-2:]) == atoms
    others = np.delete(loudness, sorted(atoms))
    assert others.max() < 0.1 * loudness[sorted(atoms)].min()


def test_a_chord_comes_back(learnt: AudioConfig) -> None:
    """The loud partials are within 2 dB after the round trip; weaker ones of both coincide."""
    chord = note(60) + note(67)
    frames = representations.extract(chord, learnt, "float16")
    back = representations.invert(frames, learnt, n_samples=chord.size)
    before, after = (power_of(samples)[8:20].mean(axis=0) for samples in (chord, back))
    peaks = before > 0.1 * before.max()
    assert np.abs(10 * np.log10(after[peaks] / before[peaks])).max() < 2


def test_atoms_have_unit_energy_and_rise(learnt: AudioConfig) -> None:
    atoms = representations.Activations(learnt).atoms
    np.testing.assert_allclose(np.square(atoms).sum(axis=1), 1, rtol=1e-5)
    centroids = (atoms @ np.arange(atoms.shape[1])) / atoms.sum(axis=1)
    assert (np.diff(centroids) > 0).all()


def divergence(target: Any, found: Any) -> float:
    """Return the Kullback-Leibler divergence of non-negative arrays."""
    target, found = np.asarray(target, "f8") + 1e-12, np.asarray(found, "f8") + 1e-12
    return float((target * np.log(target / found) - target + found).sum())


def test_activations_are_as_near_as_scikit_learns(learnt: AudioConfig) -> None:
    atoms = representations.Activations(learnt).atoms
    magnitudes = np.sqrt(power_of(note(60) + 0.5 * note(64) + 0.2 * note(69)))
    ours = dictionary.activate(magnitudes, atoms)
    theirs, _, _ = non_negative_factorization(
        magnitudes,
        H=atoms,
        n_components=len(atoms),
        init="custom",
        update_H=False,
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=500,
        tol=0,
    )
    least = divergence(magnitudes, theirs @ atoms)
    assert divergence(magnitudes, ours @ atoms) < 1.05 * least


def test_a_dictionary_is_no_worse_than_scikit_learns() -> None:
    magnitudes = np.sqrt(np.concatenate([power_of(note(midi)) for midi in MIDI]))
    atoms = dictionary.fit(magnitudes, 6)
    found = dictionary.activate(magnitudes, atoms) @ atoms
    theirs, spectra, _ = non_negative_factorization(
        magnitudes,
        n_components=6,
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=80,
        tol=0,
        random_state=0,
    )
    assert divergence(magnitudes, found) < 1.2 * divergence(magnitudes, theirs @ spectra)


def test_activations_without_their_dictionary_are_refused() -> None:
    with pytest.raises(errors.InputError, match=r"need the dictionary .* Received: n_atoms=6"):
        representations.extract(note(60), ATOMS)


@pytest.mark.parametrize(("upper", "of_plain"), [(58, 0.3), (65, 0.3), (62, 0.8)])
def test_the_start_spectrum_is_nearer_with_its_map(upper: int, of_plain: float) -> None:
    """Fitted to notes and fifths, heard on a note, a fifth, and a third that it was not fitted to.

    Spectral convergence: distance of the magnitudes, relative to their norm.
    """
    trained = [power_of(note(midi)) for midi in range(50, 80)]
    trained += [power_of(note(midi) + note(midi + 7)) for midi in range(50, 75)]
    audio = fitted.attach(MEL, fitted.fit(trained, MEL))
    target = power_of(note(58) + note(upper))[4:30]
    mel = frequency_scales.sum_bands(target, MEL)
    target, mel = np.sqrt(target / mel.max()), mel / mel.max()

    def distance(analysis: AudioConfig) -> float:
        found = np.sqrt(inversion._start_power(mel, analysis))
        return float(np.linalg.norm(found - target) / np.linalg.norm(target))

    assert distance(audio) < of_plain * distance(MEL)


def test_the_maps_weights_are_those_of_ridge_regression() -> None:
    """The normal equations, against scikit-learn's solver for one bin."""
    from sklearn.linear_model import Ridge

    random = np.random.default_rng(0)
    run = np.exp(random.standard_normal((200, 1 + MEL.n_fft // 2)).cumsum(axis=1) / 8)
    run = run.astype(np.float32)
    weights = start_spectrum.fit([run], MEL).astype("f8")
    logs = stft.log_power(frequency_scales.sum_bands(run, MEL), MEL).astype(np.float16)
    mel = stft.log_to_power(logs, MEL)
    density = start_spectrum._density(mel / mel.max(), MEL)
    features = start_spectrum._features(density)[1:-1]
    smooth = np.exp(start_spectrum._interpolate(density, MEL))[1:-1]
    missing = np.clip(np.log(run[1:-1] / mel.max() / smooth) / 2, -6, 6)
    ridge = Ridge(alpha=10.0, fit_intercept=False).fit(features.astype("f8"), missing[:, 100])
    np.testing.assert_allclose(weights[:, 100], ridge.coef_, atol=2e-3)


def test_bands_between_two_bins_are_one_line() -> None:
    between = dataclasses.replace(MEL, fmin_hz=100.0, fmax_hz=105.0, n_mels=3)
    with pytest.raises(errors.InputError, match=r"reach an FFT bin.*fmin_hz=100.0, fmax_hz=105.0"):
        fitted.specs(between)


def test_inversion_with_the_map_still_has_the_mel() -> None:
    audio = fitted.attach(MEL, fitted.fit([power_of(note(midi)) for midi in MIDI], MEL))
    samples = np.concatenate([note(58), note(65)])
    log_mel = representations.extract(samples, audio)
    back = representations.extract(inversion.invert(log_mel, audio, 32), audio)
    loud = log_mel[: len(back)] > log_mel.max() - 9
    assert np.abs(back - log_mel[: len(back)])[loud].mean() < 0.15


@pytest.mark.parametrize("change", ["missing", "flipped", "longer", "link"])
def test_a_damaged_file_is_one_clear_line(
    learnt: AudioConfig, tmp_path: pathlib.Path, change: str
) -> None:
    path = tmp_path / fitted.FILE
    fitted.write(str(path), learnt)
    again = fitted.read(str(path), learnt, REMEDY)
    assert again == learnt
    np.testing.assert_array_equal(
        representations.Activations(again).atoms, representations.Activations(learnt).atoms
    )
    content = path.read_bytes()
    path.unlink()
    if change == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif change == "longer":
        path.write_bytes(content + b"\0")
    elif change == "link":
        (tmp_path / "other").write_bytes(content)
        path.symlink_to(tmp_path / "other")
    with pytest.raises(errors.InputError, match=r"fitted\.safetensors must be there") as refused:
        fitted.read(str(path), learnt, REMEDY)
    assert REMEDY in str(refused.value)
    assert "\n" not in str(refused.value)
