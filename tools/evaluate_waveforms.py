"""Judge models of the waveform itself: what comes back through them, and what they draw.

  python -m tools.evaluate_waveforms --run_dir=run [--run_dir=other] [--seconds=2.7]

prints two tables: held-out music through each model beside the mean spectrum, and draws from each
prior beside excerpts of held-out music.
"""

from typing import NoReturn

import numpy as np

from flags import command, device_flags, evaluation_flags, judged_flags, storage_flags
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts as primers
from lstm_gen.dataset.input import pipeline
from lstm_gen.evaluation import waveforms
from lstm_gen.generation import resynthesis
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from tools import judging

_RECONSTRUCTION_HEAD = (
    "| held-out music | step | SNR dB | of a window | LSD dB | mean spectrum | level slope | "
    "level dB | " + " | ".join(f"gain x{gain:g}, dB" for gain in waveforms.GAINS) + " |"
)
_DRAWS_HEAD = (
    "| draws | correlation | at any lag | DC / rms | level dB | to real | spread dB | flatness |"
)
_FOOTNOTE = (
    "SNR over all held-out samples, and the median over windows. LSD: distance of log spectra, 256 "
    "samples, beside that of the training split's mean. Slope: of log level out over log level in. "
    "Gain: what is kept too little or too much of the level when the input is scaled."
)


def main() -> None:
    """Print the tables, and write them if asked to."""
    columns = 8 + len(waveforms.GAINS)
    back, drawn = (
        [_RECONSTRUCTION_HEAD, "| --- " * columns + "|"],
        [_DRAWS_HEAD, "| --- " * 8 + "|"],
    )
    for run_dir in judged_flags.run_dirs():
        run = runs.load(run_dir)
        errors.require(
            run.audio.representation == "waveform" and "reconstruct" in run.family.controls,
            "run_dir must be of a model with latents of representation waveform",
            run_dir=run_dir,
            model=run.settings.family,
        )
        dataset = judging.load_dataset({run_dir: run})
        model = run.load_model()
        back.append(_judge_reconstruction(run_dir, run, model, dataset))
        drawn += _judge_draws(run_dir, run, dataset)
    judging.tell("\n".join([*back, "", *drawn, "", _FOOTNOTE, ""]))


def _judge_reconstruction(
    run_dir: str, run: runs.Run, model: LatentModel, dataset: manifest.Dataset
) -> str:
    """Return a run's row of the first table."""
    train, held_out = (
        [_sound(run, frames) for frames, _, _ in pipeline.segments(dataset, split)]
        for split in ("train", "validation")
    )

    def through(signal: np.ndarray) -> np.ndarray:
        frames = run.normalisation.apply(signal.reshape(1, -1, run.audio.hop_length))
        made = resynthesis.reconstruct(model, frames, {})
        return _sound(run, made[0])

    window = run.window.timesteps * run.audio.hop_length
    found = waveforms.measure_reconstruction(train, held_out, through, window)
    weights = checkpoints.newest(runs.model_dir(run_dir))
    figures = [
        f"{found.snr_db:.2f}",
        f"{found.window_snr_db:.2f}",
        f"{found.distance_db:.2f}",
        f"{found.mean_distance_db:.2f}",
        f"{found.level_slope:.3f}",
        *(f"{value:+.2f}" for value in (found.level_db, *found.gain_db.values())),
    ]
    return _row([run_dir, str(weights.step if weights else ""), *figures])


def _judge_draws(run_dir: str, run: runs.Run, dataset: manifest.Dataset) -> list[str]:
    """Return a run's rows of the second table, and that of music."""
    songs = evaluation_flags.config()
    n_frames = round(songs.seconds * run.audio.frames_per_second)
    excerpts = primers.draw(dataset, "validation", songs.n_songs, n_frames, songs.seed)
    real = waveforms.measure_draws([_sound(run, frames) for frames in excerpts])
    rows = [_draws_row("held-out music", real, real)]
    for prior in run.settings.priors:
        asked = evaluation_flags.config(prior)
        made = judging.make_songs(run, asked, dataset.data_dir)
        found = waveforms.measure_draws([_sound(run, song) for song in made])
        rows.append(_draws_row(f"{run_dir}, {prior}", found, real))
    return rows


def _draws_row(name: str, found: waveforms.Draws, real: waveforms.Draws) -> str:
    """Return a row of the second table."""
    cells = [
        name,
        f"{found.correlation:.3f}",
        f"{found.lagged_correlation:.3f}",
        f"{found.offset:.4f}",
        f"{found.level_db:.1f}",
        f"{found.level_db - real.level_db:+.1f}",
        f"{found.level_spread_db:.1f}",
        f"{found.flatness:.4f}",
    ]
    return _row(cells)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _sound(run: runs.Run, frames: np.ndarray) -> np.ndarray:
    """Return the samples of normalised frames [frames, hop_length]."""
    return run.normalisation.undo(frames).reshape(-1)


def run() -> NoReturn:
    """Run the command."""
    command.run(main, judged_flags, evaluation_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
