"""Held-out clips of a dataset, as they were recorded and through frames and back.

    python -m tools.judge.clips --run_dir=run --input_dir=recordings --output_dir=clips

writes clips/recordings/000.wav and so on, where the recordings are given, and clips/frames/000.wav.
"""

import dataclasses
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from lstm_gen.audio import files, representations
from lstm_gen.cli import command, settings
from lstm_gen.config import fields
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.dataset.format import manifest, records
from lstm_gen.platform import errors, stderr_filter, storage

_LEAST_SECONDS = 5.0  # of a clip: in shorter ones a key or a rate is chance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipsConfig(fields.Settings):
    """Clips."""

    run_dir: str = fields.setting("run", "Run whose dataset is held out.", path="input")
    data_dir: str = fields.like(EvaluationConfig, "data_dir")
    input_dir: str = fields.setting(
        "", "Recordings that the dataset was made from; without them frames only.", path="input"
    )
    output_dir: str = fields.setting("clips", "Folder of the clips.", path="output")
    n_clips: int = fields.setting(16, "Most clips of a kind.", at_least=1)
    seconds: float = fields.setting(20.0, "Longest clip.", unit="s", at_least=_LEAST_SECONDS)


SETTINGS = (ClipsConfig,)


def main(line: settings.CommandLine) -> None:
    """Write the clips."""
    config = line.build(ClipsConfig)
    stderr_filter.start()
    from lstm_gen.runs import run as runs  # imports TensorFlow

    run = runs.load(config.run_dir)
    dataset = manifest.load(config.data_dir or run.data_dir)
    held_out = [
        segment
        for shard in dataset.splits["validation"].shards
        for segment in dataset.read_segments(shard)
    ]
    rate = dataset.audio.frames_per_second
    clips = cut(
        held_out, round(_LEAST_SECONDS * rate), round(config.seconds * rate), config.n_clips
    )
    errors.require(
        bool(clips),
        f"the dataset must hold out a segment of {_LEAST_SECONDS:g} s or more",
        data_dir=dataset.data_dir,
    )
    for number, clip in enumerate(clips):
        _write(
            config, "frames", number, dataset, representations.invert(clip.frames, dataset.audio)
        )
    if config.input_dir:
        _write_recordings(config, dataset, clips)


def cut(
    segments: Sequence[records.Segment], least: int, most: int, n_clips: int
) -> list[records.Segment]:
    """Cut segments into clips of `least` to `most` frames, and return at most `n_clips`, evenly."""
    found = [
        segment._replace(
            frames=segment.frames[start : start + most], start_frame=segment.start_frame + start
        )
        for segment in segments
        for start in range(0, len(segment.frames) - least + 1, most)
    ]
    chosen = np.linspace(0, len(found) - 1, min(n_clips, len(found))).round().astype(int)
    return [found[index] for index in chosen]


def _write_recordings(
    config: ClipsConfig, dataset: manifest.Dataset, clips: Sequence[records.Segment]
) -> None:
    """Write clips as they were recorded; each recording is read once."""
    names = manifest.recording_names(manifest.load_lines(dataset.data_dir))
    hop, rate = dataset.audio.hop_length, dataset.audio.sample_rate
    for recording in dict.fromkeys(clip.recording for clip in clips):
        samples = files.read(storage.join(config.input_dir, names[recording]), rate)
        for number, clip in enumerate(clips):
            if clip.recording == recording:
                first = clip.start_frame * hop
                own = samples[first : first + len(clip.frames) * hop]
                _write(config, "recordings", number, dataset, own)


def _write(
    config: ClipsConfig, kind: str, number: int, dataset: manifest.Dataset, samples: np.ndarray
) -> None:
    path = storage.join(config.output_dir, kind, f"{number:03d}.wav")
    files.write(path, samples, dataset.audio.sample_rate, "PCM_16")


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)


if __name__ == "__main__":
    run()
