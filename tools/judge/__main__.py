"""Judge of notes: Basic Pitch transcribes groups of clips, and a table compares the groups.

    python -m tools.judge --clips='recordings=clips/recordings/*.wav' --clips='songs=songs/*.wav'

Of clips that have the names of the first group's, as copies through frames have, the F1 of notes by
onset (50 ms) and pitch (50 cents) is printed too. `make judge` makes the environment for it.
"""

import contextlib
import dataclasses
import io
import logging
import math
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import librosa
import numpy as np

from lstm_gen.audio import files
from lstm_gen.cli import command, settings
from lstm_gen.config import fields
from lstm_gen.evaluation import table
from lstm_gen.platform import errors
from tools.judge import measures

_RATE = 22050
_COLUMNS = (
    *("clips", "n", "notes/s", "polyphony", "note length, s", "confidence", "key fit"),
    *("onsets/s", "rise, dB", "level, dB", "drift, dB", "F1"),
)

Transcription = tuple[np.ndarray, np.ndarray]
"""Notes [n, 3] as in `measures`, and posteriors [frames, pitches]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeConfig(fields.Settings):
    """Judgement."""

    clips: tuple[str, ...] = fields.setting(
        (),
        "A group of clips, as NAME=PATTERN: songs='songs/*.wav'. Repeat the flag to compare "
        "groups. Eight clips or more of 10 to 20 s; of fewer, differences of a tenth are chance.",
        repeatable=True,
    )


SETTINGS = (JudgeConfig,)


def main(line: settings.CommandLine) -> None:
    """Print the table."""
    groups = find(line.build(JudgeConfig).clips)
    print(judge(groups, transcriber()).markdown(), end="")


def find(patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths of each group, sorted.

    Raises:
      InputError: If there is no group, one has no name or no file, or two have the same name.
    """
    errors.require(bool(patterns), "clips must name a group, as songs='songs/*.wav'", clips="")
    groups: dict[str, list[str]] = {}
    for pattern in patterns:
        name, _, wanted = pattern.partition("=")
        errors.require(
            bool(name and wanted),
            "clips must be NAME=PATTERN, as songs='songs/*.wav'",
            clips=pattern,
        )
        errors.require(
            name not in groups, "each group of clips must have a name of its own", clips=name
        )
        path = pathlib.Path(wanted)
        groups[name] = sorted(map(str, path.parent.glob(path.name)))
        errors.require(bool(groups[name]), "clips must match sound files", clips=pattern)
    return groups


def judge(groups: dict[str, list[str]], transcribe: Callable[[str], Transcription]) -> table.Table:
    """Return the table of groups, a row each."""
    originals: dict[str, np.ndarray] = {}
    rows = []
    for index, (name, paths) in enumerate(groups.items()):
        heard = []
        for path in paths:
            notes, posteriors = transcribe(path)
            stem = pathlib.Path(path).stem
            f1 = note_f1(originals[stem], notes) if index and stem in originals else math.nan
            if index == 0:
                originals[stem] = notes
            samples = files.read(path, _RATE)
            heard.append(measures.describe(notes, posteriors, samples, _RATE, f1))
        cells = ["" if math.isnan(value) else f"{value:.2f}" for value in measures.mean(heard)]
        rows.append([name, str(len(paths)), *cells])
    return table.Table(columns=_COLUMNS, rows=rows)


def note_f1(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Return F1 of notes by onset (50 ms) and pitch (50 cents); 0 if either has none."""
    import mir_eval

    if not len(reference) or not len(estimate):
        return 0.0
    (times, pitches), (other_times, other_pitches) = (
        (notes[:, :2], librosa.midi_to_hz(notes[:, 2])) for notes in (reference, estimate)
    )
    _, _, f1, _ = mir_eval.transcription.precision_recall_f1_overlap(
        times, pitches, other_times, other_pitches, offset_ratio=None
    )
    return float(f1)


def transcriber() -> Callable[[str], Transcription]:
    """Return the function from the path of a sound file to what Basic Pitch hears in it."""
    with _quiet():
        import basic_pitch
        from basic_pitch import inference

        model = inference.Model(basic_pitch.ICASSP_2022_MODEL_PATH)

    def transcribe(path: str) -> Transcription:
        with _quiet():
            output, _, events = inference.predict(path, model)
        notes = np.array([event[:3] for event in events], np.float64).reshape(-1, 3)
        return notes, np.asarray(output["note"])

    return transcribe


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discard what Basic Pitch prints: back ends that are not installed, and file names."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)


if __name__ == "__main__":
    run()
