"""Judge the notes of a model that is told a pitch, beside real takes of the same labels.

  python -m tools.evaluate_notes --run_dir=run --recordings=notes [--output=table.md]

asks for notes with the labels of recordings, of pitches trained on and of pitches held out, inverts
them as generate_songs.py does, and prints what `lstm_gen.evaluation.notes` says of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from flags import (
    command,
    device_flags,
    generation_flags,
    judged_flags,
    note_flags,
    storage_flags,
)
from lstm_gen.audio import files, representations
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import labels as classes
from lstm_gen.evaluation import notes
from lstm_gen.generation import conditioning, output, request
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs
from tools import judging

_HEAD = (
    "| notes | n | pitch within 50 cents | energy on the harmonics | flatness "
    "| LSD to the take, dB | LSD of the nearest training take, dB |"
)
_SPREAD_LABELS, _SPREAD_DRAWS = 12, 4
_FAR = 12.0  # semitones; a take of the same classes counts as nearer whatever its other numbers


class Take(NamedTuple):
    """A note that was played.

    Attributes:
      split: Of the dataset.
      values: Its labels.
      midi: Its pitch.
      samples: float32, as long as the notes that are made.
    """

    split: str
    values: dict[str, labels.Value]
    midi: float
    samples: np.ndarray

    def is_like(self, other: "Take") -> bool:
        """Whether all that are classes are the same."""
        return all(
            value == other.values[name]
            for name, value in self.values.items()
            if isinstance(value, tuple)
        )


def main() -> None:
    """Print the tables of each run, and write them if asked to."""
    songs = generation_flags.config()
    tables = [_judge(run_dir, runs.load(run_dir), songs) for run_dir in judged_flags.run_dirs()]
    judging.tell("\n\n".join(tables))


def _judge(run_dir: str, run: runs.Run, songs: GenerationConfig) -> str:
    """Return the tables of a run."""
    pitch = songs.pitch_label
    errors.require(
        pitch in run.condition and "primer" not in run.family.controls,
        "the model must make notes, told their pitch; train one that does not continue a primer "
        "with --condition, and name the label with --pitch_label",
        pitch_label=pitch,
        condition=",".join(run.condition),
        model=run.settings.family,
    )
    takes = _read(judging.load_dataset({run_dir: run}), run, note_flags.recordings(), pitch, songs)
    random = np.random.default_rng(songs.seed)
    asked = [
        take
        for split in ("train", "validation")
        for take in _choose([one for one in takes if one.split == split], random)
    ]
    made = _make(run, songs, asked)
    return "\n".join(
        [
            f"### {run_dir}\n",
            _describe(run, takes, asked, made),
            _classes(run, songs, takes, asked, made),
            _spread(run, songs, takes, random),
        ]
    )


def _read(
    dataset: manifest.Dataset, run: runs.Run, folder: str, pitch: str, songs: GenerationConfig
) -> list[Take]:
    """Return the recordings of the dataset whose pitch is known."""
    seconds = dataset.segment.example_seconds or songs.seconds
    length = round(seconds * run.audio.frames_per_second) * run.audio.hop_length
    takes = []
    for line in manifest.load_lines(dataset.data_dir):
        values = labels.read_line(line) if line.get("verdict") == "ok" else {}
        split = next(iter(line.get("frames_kept", ())), "")
        value = values.get(pitch)
        number = _to_midi(value, pitch)
        if number is None or not split:
            continue
        samples = files.read(storage.join(folder, line["name"]), run.audio.sample_rate)[:length]
        told_of = {name: values[name] for name in run.condition}
        padded = np.pad(samples, (0, length - len(samples)))
        takes.append(Take(split, told_of, number, padded))
    errors.require(bool(takes), "the dataset must hold recordings of a known pitch", pitch=pitch)
    return takes


def _to_midi(value: labels.Value, pitch: str) -> float | None:
    """Return a pitch as a MIDI note number; None if it is not known."""
    text = value[0] if isinstance(value, tuple) and value else value
    try:
        return float(text) if text not in (None, ()) else None  # type: ignore[arg-type]  # no tuple
    except ValueError as error:
        raise errors.InputError(
            f"a pitch must be a MIDI note number, as 60. Received: {pitch}={text!r}"
        ) from error


def _choose(takes: Sequence[Take], random: np.random.Generator) -> list[Take]:
    """Return as many takes as notes are wanted of a split, each about as often."""
    if not takes:
        return []
    wanted = note_flags.n_notes() // 2
    order = np.concatenate(
        [random.permutation(len(takes)) for _ in range(1 + wanted // len(takes))]
    )
    return [takes[index] for index in order[:wanted]]


def _make(run: runs.Run, songs: GenerationConfig, asked: Sequence[Take]) -> list[np.ndarray]:
    """Return a note with the labels of each take."""
    songs = dataclasses.replace(songs, n_songs=len(asked))
    model_request = dataclasses.replace(
        request.for_model(songs, run),
        n_frames=len(asked[0].samples) // run.audio.hop_length,
        labels=conditioning.encode(run, [take.values for take in asked]),
    )
    frames = judging.make_songs(run, songs, run.data_dir, model_request)
    return [output.invert(run.normalisation.undo(one), run.audio, songs) for one in frames]


def _describe(
    run: runs.Run, takes: Sequence[Take], asked: Sequence[Take], made: Sequence[np.ndarray]
) -> str:
    """Return the table of pitch, share, flatness and distance."""
    rows = [_HEAD, "| --- | " + " | ".join(["---:"] * 6) + " |"]
    for split, name in (("train", "trained pitches"), ("validation", "held-out pitches")):
        pairs = [(t, m) for t, m in zip(asked, made, strict=True) if t.split == split]
        if not pairs:
            continue
        distances = [
            (
                notes.distance_db(notes.decibels(note), notes.decibels(take.samples)),
                notes.distance_db(_nearest(take, takes), notes.decibels(take.samples)),
            )
            for take, note in pairs
        ]
        rows.append(_row(f"made, {name}", run, pairs, [f"{x:.2f}" for x in np.mean(distances, 0)]))
        real = [(take, take.samples) for take, _ in pairs]
        rows.append(_row(f"real, {name}", run, real, ["", ""]))
    exact = all(note.shape == take.samples.shape for take, note in zip(asked, made, strict=True))
    return "\n".join([*rows, "", f"length of every note exact: {'yes' if exact else 'NO'}", ""])


def _row(
    name: str, run: runs.Run, pairs: Sequence[tuple[Take, np.ndarray]], distances: list[str]
) -> str:
    """Return a line of the table."""
    rate = run.audio.sample_rate
    right = [abs(notes.pitch_error_cents(note, rate, take.midi)) < 50 for take, note in pairs]
    share = [notes.harmonic_fraction(note, rate, take.midi) for take, note in pairs]
    flat = [notes.flatness(note) for _, note in pairs]
    figures = [f"{np.mean(right):.3f}", f"{np.mean(share):.3f}", f"{np.mean(flat):.4f}"]
    return "| " + " | ".join([name, str(len(pairs)), *figures, *distances]) + " |"


def _nearest(take: Take, takes: Sequence[Take]) -> np.ndarray:
    """Return the levels of the training take nearest in labels, resampled to the take's pitch."""

    def far(other: Take) -> float:
        numbers = [
            abs(value - other_value) / 100
            for value, other_value in zip(take.values.values(), other.values.values(), strict=True)
            if isinstance(value, float) and isinstance(other_value, float)
        ]
        return abs(take.midi - other.midi) + sum(numbers) + _FAR * (not take.is_like(other))

    others = [one for one in takes if one.split == "train" and one is not take]
    best = min(others, key=far)
    moved = notes.transpose(best.samples, take.midi - best.midi)[: len(take.samples)]
    return notes.decibels(np.pad(moved, (0, len(take.samples) - len(moved))))


def _classes(
    run: runs.Run,
    songs: GenerationConfig,
    takes: Sequence[Take],
    asked: Sequence[Take],
    made: Sequence[np.ndarray],
) -> str:
    """Return how often classifiers of real takes hear the class that was asked for.

    One knows takes as they are, the other as the dataset's frames give them back: what these leave
    out, as all above their highest bin, no model can make.
    """
    rate, train = run.audio.sample_rate, [take for take in takes if take.split == "train"]
    names = [
        one.name
        for one in run.spec.conditions
        if one.kind == "class" and one.name != songs.pitch_label
        if len({take.values[one.name] for take in train} - {()}) > 1
    ]
    if not names:
        return ""

    def back(samples: np.ndarray) -> np.ndarray:
        return output.invert(representations.extract(samples, run.audio), run.audio, songs)

    judged = {
        "as they are": np.stack([notes.timbre(take.samples, rate) for take in takes]),
        "through frames": np.stack([notes.timbre(back(take.samples), rate) for take in takes]),
    }
    made_timbre = np.stack([notes.timbre(note, rate) for note in made])
    rows = [
        "| label | classifier of real takes | asked for and heard | takes held out, heard right |",
        "| --- | --- | ---: | ---: |",
    ]
    for name in names:
        for how, timbres in judged.items():
            right, real = _agree(name, takes, timbres, asked, made_timbre)
            rows.append(f"| {name} | {how} | {right:.3f} | {real:.3f} |")
    return "\n".join([*rows, ""])


def _agree(
    name: str,
    takes: Sequence[Take],
    timbres: np.ndarray,
    asked: Sequence[Take],
    made_timbre: np.ndarray,
) -> tuple[float, float]:
    """Return how often a class of what was made, and of held-out takes, is heard as it is."""

    def named(found: Sequence[Take]) -> list[str]:
        # Of this kind of label the values are texts, which the type of all kinds cannot say.
        return ["+".join(take.values[name]) for take in found]  # type: ignore[arg-type]

    known = [bool(take.values[name]) for take in takes]
    train = [k and take.split == "train" for k, take in zip(known, takes, strict=True)]
    rest = [k and not t for k, t in zip(known, train, strict=True)]
    rest = rest if any(rest) else train

    def of(chosen: Sequence[bool]) -> list[Take]:
        return [take for take, is_in in zip(takes, chosen, strict=True) if is_in]

    classifier = classes.fit(timbres[train], named(of(train)))
    said = [bool(take.values[name]) for take in asked]
    wanted = [take for take, is_said in zip(asked, said, strict=True) if is_said]
    return (
        classes.accuracy(named(wanted), classifier.predict(made_timbre[said])),
        classes.accuracy(named(of(rest)), classifier.predict(timbres[rest])),
    )


def _spread(
    run: runs.Run,
    songs: GenerationConfig,
    takes: Sequence[Take],
    random: np.random.Generator,
) -> str:
    """Return how far draws of the same labels are from each other, beside real takes."""
    chosen = [takes[i] for i in random.permutation(len(takes))[:_SPREAD_LABELS]]
    asked = [take for take in chosen for _ in range(_SPREAD_DRAWS)]
    again = dataclasses.replace(songs, seed=songs.seed + 1)
    made = [notes.decibels(note) for note in _make(run, again, asked)]
    draws = [
        notes.spread_db(made[i : i + _SPREAD_DRAWS]) for i in range(0, len(made), _SPREAD_DRAWS)
    ]
    groups = [
        [notes.decibels(one.samples) for one in takes if one.midi == t.midi and one.is_like(t)]
        for t in chosen
    ]
    real = [notes.spread_db(group) for group in groups if len(group) > 1]
    return (
        f"distance between draws of the same labels: {np.mean(draws):.2f} dB; between real takes "
        f"of the same pitch and classes: {np.mean(real) if real else 0:.2f} dB\n"
    )


def run() -> NoReturn:
    """Run the command."""
    command.run(main, judged_flags, generation_flags, note_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
