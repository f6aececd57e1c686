"""Judge how much of held-out sounds comes back through trained models with latents.

  python -m tools.evaluate_reconstructions --run_dir=run [--run_dir=other] [--output=table.md]
    [--input_dir=recordings [--pitch_label=pitch]]

prints a table: each model's rate and held-out error as the share below the mean spectrum's, beside
each window's own mean and principal components of as many numbers per second. With --input_dir the
held-out recordings go through it as sound: duration, waveform SNR and, of notes, pitch.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import tqdm

from flags import (
    command,
    device_flags,
    judged_flags,
    pitch_flags,
    reconstruction_flags,
    storage_flags,
)
from lstm_gen.audio import files, representations
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import labelled, reconstructions
from lstm_gen.platform import errors, storage
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from tools import judging

_CENTS = 50.0
_FOOTNOTE = (
    "Share: how much of the mean spectrum's squared error over held-out frames, normalised, is "
    "gone. Phase steps count as their bins' levels. Sounds: held-out recordings through the model "
    "and back; notes within 50 cents of their label by YIN, exact lengths, median waveform SNR."
)
_HEAD = (
    "| model | step | latents | numbers/s | share | window mean | patch PCA | notes in tune | "
    "exact length | SNR dB |"
)


@dataclasses.dataclass(frozen=True)
class _Sound:
    """A held-out recording."""

    samples: np.ndarray
    values: dict[str, labels.Value]


@dataclasses.dataclass(frozen=True)
class _Heard:
    """What became of recordings: in tune or not (if known), as long or not, SNR."""

    in_tune: list[bool]
    as_long: list[bool]
    snr_db: list[float]


def main() -> None:
    """Print the table, and write it if asked to."""
    rows, heard_already = [_HEAD, "| --- " * 10 + "|"], False
    for run_dir in judged_flags.run_dirs():
        run = runs.load(run_dir)
        errors.require(
            "reconstruct" in run.family.controls,
            "run_dir must be of a model with latents",
            run_dir=run_dir,
            model=run.settings.family,
        )
        dataset = judging.load_dataset({run_dir: run})
        sounds = _load_sounds(dataset)
        if sounds and not heard_already:
            rows.append(_row("inverted without a model", _listen(lambda x, _: x, sounds, run)))
            heard_already = True
        rows += _judge(run_dir, run, dataset, sounds)
    judging.tell("\n".join([*rows, "", _FOOTNOTE, ""]))


def _judge(
    run_dir: str, run: runs.Run, dataset: manifest.Dataset, sounds: list[_Sound]
) -> list[str]:
    """Return the rows of a run."""
    model, spec = run.load_model(), run.spec
    train, (held_out, told) = (
        _segments(run, dataset, "train")[0],
        _segments(run, dataset, "validation"),
    )
    one = {name: rows[:1] for name, rows in told.items()}
    rate = reconstructions.rate(model, one)
    mean = np.concatenate(train).mean(axis=0)
    made = reconstructions.reconstruct(model, held_out, told)
    share = reconstructions.explained(held_out, made, spec, mean)
    still = reconstructions.window_means(held_out, run.window.timesteps)
    code = reconstructions.patch_pca(train, rate)
    figures = [
        f"{rate.size} per {rate.stride:g} frames",
        f"{rate.per_second(run.audio.frames_per_second):,.0f}",
        f"{share:.4f}",
        f"{reconstructions.explained(held_out, still, spec, mean):.4f}",
        "too wide"
        if code is None
        else f"{reconstructions.explained(held_out, list(map(code, held_out)), spec, mean):.4f}",
    ]

    def through(frames: np.ndarray, values: dict[str, labels.Value]) -> np.ndarray:
        own = labels.stack(run.conditioning, [values])
        return reconstructions.reconstruct(model, [frames], own)[0]

    weights = checkpoints.newest(runs.model_dir(run_dir))
    step = str(weights.step) if weights else ""
    rows = [_row(run_dir, _listen(through, sounds, run), step, *figures)]
    if code is not None and sounds and reconstruction_flags.pca_sounds():
        linear = _listen(lambda frames, _: code(frames), sounds, run)
        rows.append(_row(f"patch PCA {figures[0]}", linear, "", *figures[:2], figures[-1]))
    return rows


def _listen(
    through: Callable[[np.ndarray, Any], np.ndarray], sounds: list[_Sound], run: runs.Run
) -> _Heard:
    """Send recordings through a model and back to sound."""
    heard, name = _Heard([], [], []), pitch_flags.pitch_label()
    for sound in tqdm.tqdm(sounds, desc="listening", leave=False):
        frames = run.normalisation.apply(representations.extract(sound.samples, run.audio))
        made = run.normalisation.undo(through(frames, sound.values))
        # A hop of samples for every frame, of which the last begins at the very end or before it.
        samples = representations.invert(made, run.audio)
        surplus = samples.size - sound.samples.size
        heard.as_long.append(len(made) == len(frames) and 0 <= surplus <= run.audio.hop_length)
        samples = np.pad(samples, (0, max(0, -surplus)))[: sound.samples.size]
        heard.snr_db.append(reconstructions.snr_db(sound.samples, samples))
        pitch = sound.values.get(name)
        if isinstance(pitch, float):
            cents = reconstructions.pitch_error_cents(samples, run.audio.sample_rate, pitch)
            heard.in_tune.append(cents <= _CENTS)
    return heard


def _row(name: str, heard: _Heard, *figures: str) -> str:
    """Return a row of the table."""
    cells = [name, *figures, *[""] * (6 - len(figures))]
    for found in (heard.in_tune, heard.as_long):
        cells.append(f"{sum(found)} of {len(found)}" if found else "")
    cells.append(f"{np.median(heard.snr_db):.1f}" if heard.snr_db else "")
    return f"| {' | '.join(cells)} |"


def _segments(
    run: runs.Run, dataset: manifest.Dataset, split: str
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Return the segments of a split, normalised, and what the model is told of each."""
    found = list(labelled.segments(dataset, split))
    told = labels.stack(run.conditioning, [one.values for one in found])
    return [one.frames for one in found], told


def _load_sounds(dataset: manifest.Dataset) -> list[_Sound]:
    """Return the recordings that are held out whole, if they are at hand."""
    folder = reconstruction_flags.input_dir()
    if not folder:
        return []
    held_out = [
        line
        for line in manifest.load_lines(dataset.data_dir)
        if set(line.get("frames_kept", ())) == {"validation"}
    ]
    errors.require(
        bool(held_out), "the dataset must hold out whole recordings", data_dir=dataset.data_dir
    )
    return [
        _Sound(
            files.read(storage.join(folder, line["name"]), dataset.audio.sample_rate),
            labels.read_line(line),
        )
        for line in held_out
    ]


def run() -> NoReturn:
    """Run the command."""
    command.run(main, judged_flags, reconstruction_flags, pitch_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
