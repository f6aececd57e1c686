"""Describe a dataset directory, say what is wrong with it, and listen to what is in it.

  python -m tools.check_tfrecord --data_dir=dataset --deep
  python -m tools.check_tfrecord --data_dir=dataset --dump_segment=3 --output=segment.wav

The exit status is 1 if anything is wrong.
"""

import itertools

import numpy as np

from flags import check_flags, command, data_dir_flags, storage_flags
from lstm_gen import config
from lstm_gen.audio import files, inversion
from lstm_gen.data import check, manifest, records, splits, summary


def main() -> int:
    """Print the description and a line per problem; return 1 if there is any."""
    dataset = manifest.describe(data_dir_flags.input_dir())
    problems = list(check.find_problems(dataset, check_flags.deep()))
    print(_describe(dataset))
    for problem in problems:
        print(f"problem   {problem}")
    looked = "every record" if check_flags.deep() else "names, sizes and counts; see --deep"
    print(f"{len(problems)} problems found (looked at {looked})")
    wanted = check_flags.dump_segment()
    if wanted is not None:
        _dump(dataset, wanted, check_flags.output())
    return 1 if problems else 0


def _describe(dataset: manifest.Dataset) -> str:
    """Return what the dataset is, in lines."""
    audio = dataset.audio
    try:
        table = summary.describe(dataset, manifest.load_lines(dataset.data_dir))
    except (OSError, ValueError, KeyError):
        table = f"{manifest.MANIFEST_FILE} cannot be read"
    shortest, longest = _segment_lengths(dataset)
    return "\n".join(
        [
            f"dataset   {dataset.data_dir}, fingerprint {dataset.fingerprint[:16]}",
            f"frames    {audio.n_mels} mel bands from {audio.fmin_hz:g} to "
            f"{audio.fmax_resolved_hz:g} Hz, {audio.frames_per_second:.2f} per second "
            f"({audio.sample_rate} Hz, n_fft {audio.n_fft}, hop_length {audio.hop_length})",
            f"values    {dataset.segment.dtype}, log-mel; mean {dataset.mean.min():.2f} to "
            f"{dataset.mean.max():.2f}, std {dataset.std.min():.2f} to {dataset.std.max():.2f}",
            f"segments  [{shortest} to {longest}, {audio.n_mels}]; split by {dataset.split.split}",
            table,
        ]
    )


def _segment_lengths(dataset: manifest.Dataset) -> tuple[int, int]:
    """Return the frames of the shortest and of the longest segment."""
    lengths = [
        n for split in dataset.splits.values() for shard in split.shards for n in shard.frames
    ]
    return min(lengths, default=0), max(lengths, default=0)


def _dump(dataset: manifest.Dataset, wanted: int, output: str) -> None:
    """Turn a segment back into sound."""
    segment = _find(dataset, wanted)
    log_mel = segment.frames.astype(np.float32)
    files.write(output, inversion.invert(log_mel, dataset.audio), dataset.audio.sample_rate)
    seconds = len(log_mel) / dataset.audio.frames_per_second
    print(
        f"{output}: segment {wanted}, {seconds:.1f} seconds of recording {segment.recording} from "
        f"frame {segment.start_frame}"
    )


def _find(dataset: manifest.Dataset, wanted: int) -> records.Segment:
    """Return a segment by its number through all shards."""
    first = 0
    for shard in (shard for name in splits.SPLITS for shard in dataset.splits[name].shards):
        if wanted < first + shard.records:
            found = records.read_segments(
                dataset.path(shard), dataset.audio.n_mels, dataset.segment.dtype
            )
            return next(itertools.islice(found, wanted - first, None))
        first += shard.records
    config.require(False, f"--dump_segment must be below {first}", dump_segment=wanted)
    raise IndexError(wanted)


if __name__ == "__main__":
    command.run(main, check_flags, data_dir_flags, storage_flags)
