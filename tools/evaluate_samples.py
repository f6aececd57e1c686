"""Judge songs drawn from the priors of trained models beside real music.

  python -m tools.evaluate_samples --run_dir=run [--prior=sequence,standard] [--output=table.md]

prints a table with a column for held-out music, and one for each run and prior. For models that
predict instead, and for more on how songs move: tools/evaluate_songs.py.
"""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from flags import (
    command,
    device_flags,
    evaluation_flags,
    judged_flags,
    samples_flags,
    storage_flags,
)
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts, pipeline
from lstm_gen.evaluation import labelled, samples
from lstm_gen.generation import conditioning, rollout
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from tools import judging

_EXCERPT_SHARE = 0.9  # of a segment, so that excerpts come from most segments and not one place


def main() -> None:
    """Print the table, and write it if asked to."""
    found = {run_dir: runs.load(run_dir) for run_dir in judged_flags.run_dirs()}
    dataset = judging.load_dataset(found)
    songs = evaluation_flags.config()
    train = samples.analyse(
        [frames for frames, _, _ in pipeline.segments(dataset, "train")],
        dataset.audio,
        next(iter(found.values())).normalisation,
    )
    held_out = _measure(_excerpts(dataset, songs), found, train)
    columns = {"held-out music": held_out}
    for run_dir, run in found.items():
        for prior in samples_flags.priors():
            asked = evaluation_flags.config(prior)
            name = f"{run_dir}, {prior}" if prior else run_dir
            columns[name] = _measure(judging.make_songs(run, asked, dataset.data_dir), found, train)
    parts = [
        samples.acceptance(columns, held_out).markdown(),
        *_training(found, dataset),
        "Bold: out of range.",
    ]
    judging.tell("\n".join(parts))


def _excerpts(dataset: manifest.Dataset, songs: GenerationConfig) -> np.ndarray:
    """Return excerpts of held-out music, as long as songs if its segments are so long."""
    lengths = [n for shard in dataset.splits["validation"].shards for n in shard.frames]
    wanted = round(songs.seconds * dataset.audio.frames_per_second)
    n_frames = max(1, min(wanted, int(_EXCERPT_SHARE * np.median(lengths))))
    return excerpts.draw(dataset, "validation", songs.n_songs, n_frames, songs.seed)


def _measure(
    clips: np.ndarray, found: dict[str, runs.Run], train: samples.Analysis
) -> samples.Report:
    """Return the figures of clips, [clips, frames, channels]."""
    run = next(iter(found.values()))
    return samples.measure(samples.analyse(list(clips), run.audio, run.normalisation), train)


def _training(found: dict[str, runs.Run], dataset: manifest.Dataset) -> Iterator[str]:
    """Yield a line for each run: its weights' validation, and how many latents it uses."""
    for run_dir, run in found.items():
        weights = checkpoints.newest(runs.model_dir(run_dir))
        known = weights.facts if weights else {}
        facts = [f"{name} {value:.3f}" for name, value in known.items() if type(value) is float]
        facts.append(_active(run, dataset))
        step = weights.step if weights else 0
        yield f"{run_dir}, step {step}, on held-out windows: {', '.join(facts)}\n"


def _active(run: runs.Run, dataset: manifest.Dataset) -> str:
    """Return in words how many latents tell held-out segments apart."""
    if "reconstruct" not in run.family.controls:
        return "no latents"
    model = rollout.place_model(run, device_flags.devices()[0], "float32")
    rows = np.concatenate(
        [
            model.encode(one.frames[np.newaxis], conditioning.encode(run, [dict(one.values)]))[0]
            for one in labelled.segments(dataset, "validation")
        ]
    )
    return f"{samples.count_active(rows)} of {rows.shape[-1]} latents active"


def run() -> NoReturn:
    """Run the command."""
    command.run(main, judged_flags, evaluation_flags, samples_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
