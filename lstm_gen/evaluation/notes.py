"""Notes of a conditional model beside recorded notes of the same labels, and metrics of notes.

The metrics are of one note, float [samples], of any level. They complement each other: a pitch
estimate does not detect noise, and the fraction of energy on the harmonics does not detect an
octave.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.signal
import scipy.stats

from lstm_gen.audio import files, frequency_scales, representations, stft
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import inputs, table
from lstm_gen.evaluation import labels as classification
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

IN_TUNE_CENTS = 50.0
"""Largest error of a pitch that counts as in tune, cents."""

_LOWEST_HZ, _HIGHEST_HZ = 25.0, 2300.0
_YIN_FRAME = 2048
_TROUGH = 0.1  # of the normalised difference, below which a lag is a period
_SKIPPED_SECONDS = 0.1  # the attack, which has no pitch
_NEAR_CENTS, _NEAR_HZ = 35.0, 3.0
_FLOOR_DB = -80.0  # below the loudest bin
_N_FFT, _HOP = 1024, 256
_SPREAD_LABELS, _SPREAD_DRAWS = 12, 4
_CLASS_DISTANCE = 12.0  # semitones; notes of the same classes count as nearer than others

_COLUMNS = (
    "notes",
    "n",
    "pitch within 50 cents",
    "energy on the harmonics",
    "flatness",
    "LSD to the recorded note, dB",
    "LSD of the nearest training note, dB",
)
_CLASS_COLUMNS = (
    "label",
    "classifier of recorded notes",
    "accuracy on generated notes",
    "accuracy on held-out notes",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Note:
    """A recorded note.

    Attributes:
      split: Split of the dataset.
      values: Values of the conditioning labels.
      midi: Pitch, MIDI note number.
      samples: float32, as long as the notes that are generated.
    """

    split: str
    values: labels.Values
    midi: float
    samples: np.ndarray

    def has_classes_of(self, other: "Note") -> bool:
        """Return whether all labels that are classes are the same."""
        return all(
            value == other.values[name]
            for name, value in self.values.items()
            if isinstance(value, tuple)
        )


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Compare notes with recorded notes of the same labels, of trained and of held-out pitches.

    Returns:
      For each run: a table of `Note` metrics; one of classifiers of the other labels, where there
      are some; and, without columns, the spread of notes of the same labels.

    Raises:
      InputError: If a model is not conditioned on pitch, or no recording has a known pitch.
    """
    return [one for run in given.runs for one in _Evaluation(given, run).tables()]


class _Evaluation:
    """The evaluation of one run."""

    def __init__(self, given: inputs.Inputs, run: runs.Run) -> None:
        self.given, self.run = given, run
        self.pitch = given.settings.pitch_label
        errors.require(
            self.pitch in self.run.condition and "primer" not in self.run.family.controls,
            "the model must make notes conditioned on pitch; train one that does not continue a "
            "primer with --condition, and name the label with --pitch_label",
            pitch_label=self.pitch,
            condition=",".join(self.run.condition),
            model=self.run.settings.family,
        )
        self.recorded = self._read()
        self.random = np.random.default_rng(given.settings.seed)

    def tables(self) -> list[table.Table]:
        """Return the tables of the run."""
        chosen = [note for split in ("train", "validation") for note in self._choose(split)]
        generated = self._generate(chosen, self.given.settings.seed)
        found = [self._describe(chosen, generated)]
        if names := self._class_labels():
            found.append(self._classify(names, chosen, generated))
        return [*found, self._spread()]

    def _read(self) -> list[Note]:
        """Return the recordings of the dataset whose pitch is known."""
        given, run = self.given, self.run
        dataset = given.dataset(run)
        seconds = dataset.segment.example_seconds or given.settings.seconds
        length = round(seconds * run.audio.frames_per_second) * run.audio.hop_length
        notes = []
        for line in manifest.load_lines(dataset.data_dir):
            values = labels.read_line(line) if line.get("verdict") == "ok" else {}
            split = next(iter(line.get("frames_kept", ())), "")
            midi = _read_midi(values.get(self.pitch), self.pitch)
            if midi is None or not split:
                continue
            path = storage.join(given.settings.input_dir, line["name"])
            samples = files.read(path, run.audio.sample_rate)[:length]
            notes.append(
                Note(
                    split=split,
                    values={name: values[name] for name in run.condition},
                    midi=midi,
                    samples=np.pad(samples, (0, length - len(samples))),
                )
            )
        errors.require(
            bool(notes), "the dataset must hold recordings of a known pitch", pitch=self.pitch
        )
        return notes

    def _choose(self, split: str) -> list[Note]:
        """Return half of `n_notes` recorded notes of a split, each about as often."""
        notes = [note for note in self.recorded if note.split == split]
        if not notes:
            return []
        wanted = self.given.settings.n_notes // 2
        orders = [self.random.permutation(len(notes)) for _ in range(1 + wanted // len(notes))]
        return [notes[index] for index in np.concatenate(orders)[:wanted]]

    def _generate(self, like: Sequence[Note], seed: int) -> list[np.ndarray]:
        """Return the samples of a note with the labels of each recorded note."""
        songs = self.given.settings.songs(
            self.given.settings.single_prior(), n_songs=len(like), seed=seed
        )
        n_frames = len(like[0].samples) // self.run.audio.hop_length
        values = [note.values for note in like]
        frames = self.given.generate(self.run, songs, values, n_frames)
        return [self._invert(self.run.normalisation.undo(one)) for one in frames]

    def _invert(self, frames: np.ndarray) -> np.ndarray:
        iterations = INVERSION_ITERATIONS[self.given.settings.inversion_quality]
        return representations.invert(frames, self.run.audio, iterations)

    def _describe(self, chosen: Sequence[Note], generated: Sequence[np.ndarray]) -> table.Table:
        """Return the table of pitch, harmonic energy, flatness and distance."""
        rows = []
        for split, title in (("train", "trained pitches"), ("validation", "held-out pitches")):
            pairs = [p for p in zip(chosen, generated, strict=True) if p[0].split == split]
            if not pairs:
                continue
            recorded = [(note, note.samples) for note, _ in pairs]
            distances = [
                (
                    distance_db(decibels(samples), decibels(note.samples)),
                    distance_db(self._nearest(note), decibels(note.samples)),
                )
                for note, samples in pairs
            ]
            columns = [f"{x:.2f}" for x in np.mean(distances, axis=0)]
            rows.append([f"generated, {title}", *self._figures(pairs), *columns])
            rows.append([f"recorded, {title}", *self._figures(recorded), "", ""])
        exact = all(len(b) == len(a.samples) for a, b in zip(chosen, generated, strict=True))
        note = f"length of every note exact: {'yes' if exact else 'NO'}"
        return table.Table(columns=_COLUMNS, rows=rows, title=self.run.directory, notes=[note])

    def _figures(self, pairs: Sequence[tuple[Note, np.ndarray]]) -> list[str]:
        """Return the cells of notes that should have the pitches of recorded notes."""
        rate = self.run.audio.sample_rate
        in_tune = [abs(pitch_error_cents(x, rate, note.midi)) < IN_TUNE_CENTS for note, x in pairs]
        harmonic = [harmonic_fraction(x, rate, note.midi) for note, x in pairs]
        flat = [flatness(x) for _, x in pairs]
        means = f"{np.mean(in_tune):.3f}", f"{np.mean(harmonic):.3f}", f"{np.mean(flat):.4f}"
        return [str(len(pairs)), *means]

    def _nearest(self, note: Note) -> np.ndarray:
        """Return the levels of the training note nearest in labels, resampled to the pitch."""

        def distance(other: Note) -> float:
            numbers = [
                abs(value - other_value) / 100
                for value, other_value in zip(
                    note.values.values(), other.values.values(), strict=True
                )
                if isinstance(value, float) and isinstance(other_value, float)
            ]
            unlike = _CLASS_DISTANCE * (not note.has_classes_of(other))
            return abs(note.midi - other.midi) + sum(numbers) + unlike

        others = [one for one in self.recorded if one.split == "train" and one is not note]
        best = min(others, key=distance)
        moved = transpose(best.samples, note.midi - best.midi)[: len(note.samples)]
        return decibels(np.pad(moved, (0, len(note.samples) - len(moved))))

    def _class_labels(self) -> list[str]:
        """Return the labels, except pitch, that have several classes in the training split."""
        train = [note for note in self.recorded if note.split == "train"]
        return [
            one.name
            for one in self.run.spec.conditions
            if one.kind == "class" and one.name != self.pitch
            if len({note.values[one.name] for note in train} - {()}) > 1
        ]

    def _classify(
        self, names: Sequence[str], chosen: Sequence[Note], generated: Sequence[np.ndarray]
    ) -> table.Table:
        """Return the accuracy of classifiers of recorded notes in predicting the requested class.

        One is fitted to notes as recorded, the other to notes analysed to the dataset's frames and
        inverted: no model can generate content that frames lack, as all above the highest bin.
        """
        audio = self.run.audio
        inverted = [
            self._invert(representations.extract(note.samples, audio)) for note in self.recorded
        ]
        timbres = {
            "as recorded": self._timbres([note.samples for note in self.recorded]),
            "through frames": self._timbres(inverted),
        }
        generated_timbres, rows = self._timbres(generated), []
        for name in names:
            for title, own in timbres.items():
                cells = self._accuracies(name, own, chosen, generated_timbres)
                rows.append([name, title, *(f"{cell:.3f}" for cell in cells)])
        return table.Table(columns=_CLASS_COLUMNS, rows=rows, text_columns=2)

    def _timbres(self, notes: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([timbre(samples, self.run.audio.sample_rate) for samples in notes])

    def _accuracies(
        self,
        name: str,
        timbres: np.ndarray,
        chosen: Sequence[Note],
        generated_timbres: np.ndarray,
    ) -> tuple[float, float]:
        """Return a classifier's accuracy on generated notes and on held-out ones."""
        classes = np.array([_class_of(note, name) for note in self.recorded])
        requested = np.array([_class_of(note, name) for note in chosen])
        is_train = np.array([note.split == "train" for note in self.recorded]) & (classes != "")
        rest = (classes != "") & ~is_train
        rest = rest if rest.any() else is_train
        classifier = classification.fit(timbres[is_train], classes[is_train].tolist())

        def accuracy(wanted: np.ndarray, features: np.ndarray) -> float:
            return classification.accuracy(wanted.tolist(), classifier.predict(features))

        labelled = requested != ""
        return (
            accuracy(requested[labelled], generated_timbres[labelled]),
            accuracy(classes[rest], timbres[rest]),
        )

    def _spread(self) -> table.Table:
        """Return the distance between notes of the same labels, generated and recorded."""
        order = self.random.permutation(len(self.recorded))[:_SPREAD_LABELS]
        chosen = [self.recorded[index] for index in order]
        repeated = [note for note in chosen for _ in range(_SPREAD_DRAWS)]
        levels = list(map(decibels, self._generate(repeated, self.given.settings.seed + 1)))
        draws = [
            spread_db(levels[first : first + _SPREAD_DRAWS])
            for first in range(0, len(levels), _SPREAD_DRAWS)
        ]
        groups = [
            [
                decibels(one.samples)
                for one in self.recorded
                if one.midi == note.midi and one.has_classes_of(note)
            ]
            for note in chosen
        ]
        recorded = [spread_db(group) for group in groups if len(group) > 1] or [0.0]
        text = (
            f"distance between draws of the same labels: {np.mean(draws):.2f} dB; between recorded "
            f"notes of the same pitch and classes: {np.mean(recorded):.2f} dB"
        )
        return table.Table(columns=(), rows=(), notes=[text])


def _read_midi(value: labels.Value, name: str) -> float | None:
    """Return a pitch as MIDI note number; None if it is unknown."""
    text = value[0] if isinstance(value, tuple) and value else value
    try:
        return float(text) if text not in (None, ()) else None  # type: ignore[arg-type]  # no tuple
    except ValueError as error:
        raise errors.InputError(
            f"a pitch must be a MIDI note number, as 60. Received: {name}={text!r}"
        ) from error


def _class_of(note: Note, name: str) -> str:
    """Return the class of a note; "" if it is unknown."""
    value = note.values[name]
    return "+".join(value) if isinstance(value, tuple) else ""


def pitch_error_cents(samples: np.ndarray, sample_rate: int, midi: float) -> float:
    """Return the error of a note's pitch, the median of `yin`, from a MIDI note number, cents."""
    skipped = round(_SKIPPED_SECONDS * sample_rate)
    found = np.median(yin(samples[skipped:], sample_rate))
    return float(1200.0 * np.log2(found / frequency_scales.midi_to_hz(midi)))


def yin(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the fundamental frequency of each frame, Hz, float64 [frames].

    Frames are 2048 samples every 512, centred; f0 is searched from 25 to 2300 Hz.

    Source: de Cheveigne & Kawahara 2002; settings and edges as in librosa.yin.
    """
    window = _YIN_FRAME // 2
    least = max(int(sample_rate / _HIGHEST_HZ), 1)
    most = min(int(np.ceil(sample_rate / _LOWEST_HZ)), _YIN_FRAME - window - 1)
    padded = np.pad(np.asarray(samples, np.float64), _YIN_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _YIN_FRAME)[:: _YIN_FRAME // 4]
    return np.array([sample_rate / _period(frame, window, least, most) for frame in frames])


def _period(frame: np.ndarray, window: int, least: int, most: int) -> float:
    """Return the period of a frame, samples."""
    length = scipy.fft.next_fast_len(len(frame) + window)
    spectrum = scipy.fft.rfft(frame, length)
    head = scipy.fft.rfft(frame[:window], length)
    products = scipy.fft.irfft(spectrum * np.conj(head), length)[: most + 1]
    sums = np.concatenate([[0.0], np.cumsum(np.square(frame))])
    energy = sums[window : window + most + 1] - sums[: most + 1]
    difference = np.maximum(energy[0] + energy - 2.0 * products, 0.0)
    lags = np.arange(1, most + 1)
    mean = np.cumsum(difference[1:]) / lags
    normalised = difference[1:] / np.maximum(mean, np.finfo(np.float64).tiny)
    values = normalised[least - 1 :]
    middle = values[1:-1]
    troughs = np.flatnonzero((middle < values[:-2]) & (middle <= values[2:])) + 1
    if values[0] < values[1]:
        troughs = np.concatenate([[0], troughs])
    low = troughs[values[troughs] < _TROUGH]
    best = int(low[0]) if low.size else int(np.argmin(values))
    return best + least + _vertex(values, best)


def _vertex(values: np.ndarray, index: int) -> float:
    """Return the offset from `index` of the minimum of the parabola through three values."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    curvature = before + after - 2.0 * here
    shift = (before - after) / (2.0 * curvature) if curvature > 0 else 0.0
    return float(shift) if abs(shift) < 1 else 0.0


def harmonic_fraction(samples: np.ndarray, sample_rate: int, midi: float) -> float:
    """Return the fraction of energy within 35 cents, or 3 Hz, of the harmonics of a pitch."""
    windowed = samples * scipy.signal.get_window("hann", len(samples))
    power = np.square(np.abs(scipy.fft.rfft(windowed)))
    hz = np.arange(len(power)) * (sample_rate / len(samples))
    f0 = frequency_scales.midi_to_hz(midi)
    nearest = np.maximum(1.0, np.round(hz / f0)) * f0
    near = np.maximum(nearest * (2.0 ** (_NEAR_CENTS / 1200.0) - 1.0), _NEAR_HZ)
    total = float(power.sum())
    return float(power[np.abs(hz - nearest) <= near].sum() / total) if total else 0.0


def flatness(samples: np.ndarray) -> float:
    """Return the mean over frames of geometric over arithmetic mean power: 0 tone, 1 noise."""
    power = np.maximum(np.square(np.abs(_stft(samples))), 1e-10)
    return float(np.mean(scipy.stats.gmean(power, axis=1) / power.mean(axis=1)))


def decibels(samples: np.ndarray) -> np.ndarray:
    """Return the levels of a note, dB under its loudest bin, at least -80; [frames, bins]."""
    power = np.square(np.abs(_stft(samples)))
    loudest = float(power.max())
    if loudest == 0:
        return np.full(power.shape, _FLOOR_DB)
    return np.maximum(10.0 * np.log10(np.maximum(power / loudest, 1e-12)), _FLOOR_DB)


def distance_db(first: np.ndarray, second: np.ndarray) -> float:
    """Return the log-spectral distance of two `decibels`, root mean square over common frames."""
    n_frames = min(len(first), len(second))
    return float(np.sqrt(np.mean(np.square(first[:n_frames] - second[:n_frames]))))


def spread_db(levels: list[np.ndarray]) -> float:
    """Return the mean pairwise distance of several notes, dB; 0 for fewer than two."""
    pairs = [distance_db(a, b) for i, a in enumerate(levels) for b in levels[:i]]
    return float(np.mean(pairs)) if pairs else 0.0


def transpose(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Return a note resampled to another pitch, and so to another length."""
    length = max(2, round(len(samples) * 2.0 ** (-semitones / 12.0)))
    return np.asarray(scipy.signal.resample(samples, length), np.float32)


def timbre(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return timbre features: mean mel levels of four parts of a note, and their deviation."""
    audio = AudioConfig(sample_rate=sample_rate, n_fft=_N_FFT, hop_length=_HOP, n_mels=40)
    peak = float(np.abs(samples).max()) or 1.0
    mel = representations.extract(samples / peak, audio)
    parts = [part.mean(axis=0) for part in np.array_split(mel, 4)]
    return np.concatenate([*parts, mel.std(axis=0)])


def _stft(samples: np.ndarray) -> np.ndarray:
    """Return the STFT of a note at peak 1, complex64 [frames, bins]."""
    peak = float(np.abs(samples).max()) or 1.0
    audio = AudioConfig(representation="log_stft", n_fft=_N_FFT, hop_length=_HOP)
    return stft.stft(np.asarray(samples / peak, np.float32), audio)
