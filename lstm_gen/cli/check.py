"""Describe a dataset, list its problems, draw it and play it.

  lstm_gen check --data_dir=dataset --deep
  lstm_gen check --data_dir=dataset --plots=dataset.png
  lstm_gen check --data_dir=dataset --dump_segment=3 --output=segment.wav

The exit status is 1 if there is any problem.
"""

import dataclasses
import itertools
from typing import TYPE_CHECKING, NoReturn

from lstm_gen.cli import command, paths, settings
from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.platform import errors

if TYPE_CHECKING:
    from lstm_gen.dataset.format import manifest, records


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckConfig(fields.Settings):
    """Checks and outputs."""

    deep: bool = fields.setting(
        False,
        "Read every shard too: checksums, records, finite values, statistics, distance between "
        "splits.",
    )
    plots: str = fields.setting(
        "",
        "PNG to draw the dataset into: levels of frames, mean and spread of each frequency, and "
        "some segments, for each split.",
        path="output",
    )
    dump_segment: int | None = fields.setting(
        None,
        "Segment to invert to sound, counted from 0 through train, validation and test.",
        at_least=0,
    )
    output: str = fields.setting(
        "segment.wav",
        "File of the sound: a name ending in .wav, .flac, .ogg or .mp3.",
        path="output",
    )


SETTINGS = (paths.DatasetConfig, CheckConfig, paths.StorageConfig)


def main(line: settings.CommandLine) -> int:
    """Print the description and a line per problem; return 1 if there is any."""
    options, data_dir = line.build(CheckConfig), line.build(paths.DatasetConfig).data_dir
    from lstm_gen.dataset import inspection
    from lstm_gen.dataset.format import manifest

    dataset = manifest.describe(data_dir)
    problems = list(inspection.find_problems(dataset, options.deep))
    print(_describe(dataset))
    for problem in problems:
        print(f"problem   {problem}")
    checked = "every record" if options.deep else "names, sizes and counts; see --deep"
    found = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"{found} found (checked: {checked})")
    if options.plots or options.dump_segment is not None:
        dataset = manifest.with_fitted(dataset)
    if options.plots:
        inspection.draw(options.plots, dataset)
        print(f"{options.plots}: a picture of the dataset")
    if options.dump_segment is not None:
        _dump(dataset, options.dump_segment, options.output)
    return 1 if problems else 0


def _describe(dataset: "manifest.Dataset") -> str:
    """Return the description of a dataset, in lines."""
    from lstm_gen.dataset import inspection
    from lstm_gen.dataset.format import manifest

    audio, normal = dataset.audio, dataset.normalisation
    try:
        table = inspection.describe(dataset, manifest.load_lines(dataset.data_dir))
    except (OSError, ValueError, KeyError):
        table = f"{manifest.MANIFEST_FILE} cannot be read"
    shortest, longest = _segment_lengths(dataset)
    return "\n".join(
        [
            f"dataset   {dataset.data_dir}, fingerprint {dataset.fingerprint[:16]}",
            f"frames    {_describe_frames(audio)}, {audio.frames_per_second:.2f} per second",
            f"values    {dataset.segment.dtype}, {audio.representation}; normalisation "
            f"{audio.normalisation}: mean {normal.mean.min():.3g} to {normal.mean.max():.3g}, "
            f"std {normal.std.min():.3g} to {normal.std.max():.3g}",
            f"segments  [{shortest} to {longest}, {audio.channels}]; "
            f"split by {dataset.split.split}",
            table,
        ]
    )


def _describe_frames(audio: AudioConfig) -> str:
    """Return the content of a frame in words."""
    bins_hz = (audio.n_bins_resolved - 1) * audio.sample_rate / audio.n_fft
    held = {
        "log_mel": f"{audio.n_mels} mel bands from {audio.fmin_hz:g} to "
        f"{audio.fmax_resolved_hz:g} Hz, linear to {audio.mel_break_hz:g}",
        "activations": f"{audio.n_atoms} activations of fitted spectra",
        "log_stft": f"{audio.n_bins_resolved} bins up to {bins_hz:g} Hz",
        "complex_stft": f"{audio.n_bins_resolved} bins up to {bins_hz:g} Hz ({audio.phase})",
        "waveform": f"{audio.hop_length} samples",
    }[audio.representation]
    window = "" if audio.representation == "waveform" else f", n_fft {audio.n_fft}"
    return f"{held} ({audio.sample_rate} Hz{window}, hop_length {audio.hop_length})"


def _segment_lengths(dataset: "manifest.Dataset") -> tuple[int, int]:
    """Return the frames of the shortest and of the longest segment."""
    lengths = [
        n for split in dataset.splits.values() for shard in split.shards for n in shard.frames
    ]
    return min(lengths, default=0), max(lengths, default=0)


def _dump(dataset: "manifest.Dataset", wanted: int, output: str) -> None:
    """Write a segment as sound."""
    from lstm_gen.audio import files, representations
    from lstm_gen.dataset import inspection

    segment = _find(dataset, wanted)
    audio = dataset.audio
    n_samples = dataset.segment.example_samples(audio) or None
    searches = representations.of(audio).default_iterations > 0
    iterations = INVERSION_ITERATIONS["final"] if searches else None
    samples = representations.invert(segment.frames, audio, iterations, n_samples)
    files.write(output, samples, audio.sample_rate)
    seconds = len(samples) / audio.sample_rate
    start_seconds = segment.start_frame / audio.frames_per_second
    name = inspection.name_recordings(dataset).get(segment.recording, "an unknown recording")
    print(
        f"{output}: segment {wanted}, {seconds:.1f} seconds of {name} from {start_seconds:.1f} on"
    )


def _find(dataset: "manifest.Dataset", wanted: int) -> "records.Segment":
    """Return a segment by its number through all shards."""
    from lstm_gen.dataset.format import manifest

    first = 0
    for shard in (shard for name in manifest.SPLITS for shard in dataset.splits[name].shards):
        if wanted < first + shard.records:
            found = dataset.read_segments(shard)
            return next(itertools.islice(found, wanted - first, None))
        first += shard.records
    errors.require(False, f"--dump_segment must be below {first}", dump_segment=wanted)
    raise IndexError(wanted)


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
