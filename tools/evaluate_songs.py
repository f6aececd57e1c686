"""Judge free rollouts of trained models beside real music.

  python -m tools.evaluate_songs --run_dir=run [--run_dir=other] [--output=table.md]

rolls each model out from excerpts of the held-out split and prints two tables: likelihood
of held-out music beside simple predictors, for models that predict, and the rollouts' figures
beside the range in which they pass, with held-out and training music measured as if they were
rollouts.
"""

from typing import NoReturn

import numpy as np
import tqdm

from flags import command, device_flags, evaluation_flags, judged_flags, storage_flags
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts, pipeline
from lstm_gen.evaluation import baselines, metrics
from lstm_gen.evaluation import songs as rollouts
from lstm_gen.platform import errors
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from tools import judging

_EXCERPT_SHARE = 0.9  # of a segment, so that excerpts come from most segments and not one place
_FOOTNOTE = (
    "Bold: outside the range that passes. Held-out and training music are real; how far they are "
    "from the range is the luck of this split. Training music is a copy of itself, which the "
    "distance to the nearest training patch has to show."
)


def main() -> None:
    """Print the tables, and write them if asked to."""
    songs = evaluation_flags.config()
    found = {run_dir: runs.load(run_dir) for run_dir in judged_flags.run_dirs()}
    dataset = judging.load_dataset(found)
    _require_mels(dataset)
    train, held_out = (
        [frames for frames, _, _ in pipeline.segments(dataset, split)]
        for split in ("train", "validation")
    )
    clips = _cut_real(dataset, held_out, songs)
    for run_dir, run in found.items():
        clips[run_dir] = judging.make_songs(run, songs, dataset.data_dir)
    normal = dataset.normalisation
    reports = {
        name: rollouts.measure(frames, held_out, train, dataset.audio, normal.mean, normal.std)
        for name, frames in tqdm.tqdm(clips.items(), desc="measuring", leave=False)
    }
    scores = [
        _likelihoods(group, baselines.fit_and_score(train, held_out, shift=shift))
        for shift, group in _by_shift(found).items()
        if shift  # nothing is predicted otherwise
    ]
    judging.tell("\n".join([*scores, rollouts.acceptance(reports).markdown(), _FOOTNOTE, ""]))


def _require_mels(dataset: manifest.Dataset) -> None:
    """Refuse a dataset whose songs cannot be judged here."""
    errors.require(
        (dataset.audio.representation, dataset.audio.normalisation) == ("log_mel", "standard"),
        "rollouts are judged by deviations of mel bands; the dataset must be of representation "
        "log_mel and normalisation standard",
        representation=dataset.audio.representation,
        normalisation=dataset.audio.normalisation,
    )


def _cut_real(
    dataset: manifest.Dataset, held_out: list[np.ndarray], songs: GenerationConfig
) -> dict[str, np.ndarray]:
    """Return excerpts of real music, as long as rollouts if held-out segments are so long."""
    wanted = round(songs.seconds * dataset.audio.frames_per_second)
    there = _EXCERPT_SHARE * np.median([len(frames) for frames in held_out])
    n_frames = max(2 * metrics.PATCH_FRAMES, min(wanted, int(there)))
    return {
        name: excerpts.draw(dataset, split, songs.n_songs, n_frames, songs.seed)
        for name, split in (("held-out music", "validation"), ("training music", "train"))
    }


def _by_shift(found: dict[str, runs.Run]) -> dict[int, list[str]]:
    """Group runs by how far ahead they predict: only equal ones compare in likelihood."""
    groups: dict[int, list[str]] = {}
    for run_dir, run in found.items():
        groups.setdefault(run.window.shift, []).append(run_dir)
    return groups


def _likelihoods(run_dirs: list[str], baseline_scores: dict[str, float]) -> str:
    """Return a Markdown table of held-out likelihoods, worst first."""
    scores = dict(baseline_scores)
    linear = min(baseline_scores.values())
    for run_dir in run_dirs:
        weights = checkpoints.newest(runs.model_dir(run_dir))
        if weights is not None and "nats_per_dim" in weights.facts:
            scores[f"{run_dir}, step {weights.step}"] = weights.facts["nats_per_dim"]
    rows = [
        f"| {name} | {score:.3f} | {score - linear:+.3f} |"
        for name, score in sorted(scores.items(), key=lambda item: -item[1])
    ]
    head = "| held-out music | nats per frame and dimension | beside the best baseline |"
    return "\n".join([head, "| --- | ---: | ---: |", *rows, ""])


def run() -> NoReturn:
    """Run the command."""
    command.run(main, judged_flags, evaluation_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
