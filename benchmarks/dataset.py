"""Dataset benchmarks: preparation and reading, as whole commands beside whole baseline processes.

All candidates read from a warm page cache.
"""

import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterable

import numpy as np

from benchmarks import harness, preparation
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.format import manifest, records

_PROCESSES = 2
_SHARDS, _RECORDS, _FRAMES = 8, 100, 1000
_BATCH_SIZE, _PASSES = 16, 5


def rows() -> list[harness.Row]:
    """Measure memory, both preparations, size on disk and reading."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        # First, while this process is small: a child's peak RSS includes its parent's at the fork.
        measured = [_measure_memory(scratch)]
        music = preparation.find_music(scratch)
        measured += [_measure_folder(music, scratch), _measure_size(scratch)]
        measured += _measure_recording(music, scratch)
        measured.append(_measure_reading(scratch))
    return measured


def _measure_memory(scratch: pathlib.Path) -> harness.Row:
    """Return the peak memory of the largest process for a one-hour recording."""
    folder = scratch / "hour"
    folder.mkdir()
    preparation.write_hour(folder / "hour.flac", 220.0)
    n_bytes, seconds = preparation.peak_memory(folder, scratch / "hour-dataset", _PROCESSES)
    return harness.Row(
        what="memory of create_tfrecord, per worker",
        baseline="one hour of 44.1 kHz stereo FLAC",
        value=n_bytes / 2**30,
        unit="GiB",
        target=1.0,
        at_least=False,
        detail=f"{n_bytes / 2**20:.0f} MiB; {preparation.HOUR_SECONDS / seconds:.0f} x real time",
    )


def _measure_folder(music: pathlib.Path, scratch: pathlib.Path) -> harness.Row:
    """Return the speed of the whole command relative to loading and analysis with librosa."""
    dataset = scratch / "folder-dataset"
    baseline = _baseline_command(f"analyse({str(music)!r}, {_PROCESSES})")
    times = harness.interleave(
        {
            "ours": lambda: preparation.prepare(music, dataset, _PROCESSES),
            "librosa": lambda: preparation.run(baseline),
        },
        rounds=5,
    )
    ours, theirs = (float(np.median(times[name])) for name in ("ours", "librosa"))
    seconds = sum(line["seconds"] for line in manifest.load_lines(str(dataset)))
    return harness.Row(
        what="preparing a folder, whole command",
        baseline=f"{_PROCESSES} processes of librosa.load + melspectrogram, writing nothing",
        value=harness.ratio(times["librosa"], times["ours"]),
        unit="x",
        target=1.5,
        detail=f"{ours:.2f} s beside {theirs:.2f} s for {seconds / 60:.1f} minutes of audio, "
        f"{seconds / ours:.0f} x real time",
    )


def _measure_size(scratch: pathlib.Path) -> harness.Row:
    """Return the size of all shards relative to their float16 frames."""
    dataset = manifest.load(str(scratch / "folder-dataset"))
    n_bytes = sum(split.n_bytes for split in dataset.splits.values())
    n_frames = sum(split.n_frames for split in dataset.splits.values())
    return harness.Row(
        what="bytes on disk",
        baseline="frames x mels x 2",
        value=n_bytes / (n_frames * dataset.audio.channels * 2),
        unit="x",
        target=1.05,
        at_least=False,
        detail=f"{n_bytes:,} bytes for {n_frames:,} frames",
    )


def _measure_recording(music: pathlib.Path, scratch: pathlib.Path) -> list[harness.Row]:
    """Return speed and size for one recording relative to windows written as float lists."""
    recording = music / preparation.LONGEST
    folder, dataset, theirs = scratch / "one", scratch / "one-dataset", scratch / "windows"
    for directory in (folder, theirs):
        directory.mkdir()
    shutil.copyfile(recording, folder / recording.name)
    plots = f"--plots_dir={scratch / 'plots'}"
    windows = _baseline_command(f"write_windows({str(recording)!r}, {str(theirs)!r})")
    times = harness.interleave(
        {
            "ours": lambda: preparation.prepare(folder, dataset, _PROCESSES),
            "with picture": lambda: preparation.prepare(folder, dataset, _PROCESSES, plots),
            "windows": lambda: preparation.run(windows),
        },
        rounds=1,
    )
    seconds = manifest.load_lines(str(dataset))[0]["seconds"]
    n_bytes = sum(split.n_bytes for split in manifest.load(str(dataset)).splits.values())
    their_bytes = (theirs / "windows.tfrecord").stat().st_size
    what = f"preparing a recording of {seconds:.0f} s, whole command"
    baseline = "a picture, and overlapping windows as float lists"
    return [
        harness.Row(
            what=what,
            baseline=baseline,
            value=harness.ratio(times["windows"], times["ours"]),
            unit="x",
            target=25,
            detail=f"{times['ours'][0]:.2f} s ({times['with picture'][0]:.2f} s with picture) "
            f"beside {times['windows'][0]:.1f} s",
        ),
        harness.Row(
            what="bytes of that recording",
            baseline=baseline,
            value=n_bytes / their_bytes,
            unit="x",
            target=1 / 90,
            at_least=False,
            detail=f"{n_bytes / 1e6:.1f} MB beside {their_bytes / 1e6:.0f} MB, 1/"
            f"{their_bytes / n_bytes:.0f}",
        ),
    ]


def _measure_reading(scratch: pathlib.Path) -> harness.Row:
    """Return the float32 bytes read per second relative to raw record bytes per second."""
    import tensorflow as tf

    from lstm_gen.dataset.input import pipeline

    dataset = _write_shards(scratch / "shards", manifest.load(str(scratch / "folder-dataset")))
    train = dataset.splits["train"]
    window = WindowConfig()
    n_batches = _PASSES * pipeline.windows_per_epoch(dataset, "train", window) // _BATCH_SIZE
    batches = pipeline.windows(dataset, "train", window, _BATCH_SIZE, seed=0).take(n_batches)
    paths = [dataset.path(shard) for shard in train.shards]
    raw = tf.data.TFRecordDataset(paths).repeat(_PASSES)
    # Each run makes a new iterator; otherwise one would prefetch during the other's run.
    times = harness.interleave(
        {"ours": lambda: _drain(batches), "raw": lambda: _drain(raw)}, rounds=7
    )
    delivered = n_batches * _BATCH_SIZE * window.frames * dataset.audio.channels * 4
    stored = _PASSES * train.n_bytes
    ours, theirs = (float(np.median(times[name])) for name in ("ours", "raw"))
    return harness.Row(
        what="reading windows, shuffled and batched: float32 bytes delivered per second",
        baseline="the same shards' bytes per second as raw TFRecordDataset records",
        value=100 * delivered / stored * harness.ratio(times["raw"], times["ours"]),
        unit="%",
        target=50,
        detail=f"{delivered / ours / 1e9:.2f} GB/s of float32 out, from "
        f"{stored / ours / 1e9:.2f} GB/s of float16 shards, beside {stored / theirs / 1e9:.2f} "
        "GB/s of raw records",
    )


def _baseline_command(call: str) -> list[str]:
    """Return the command line of a call into `benchmarks.dataset_baselines`."""
    code = f"from benchmarks import dataset_baselines; dataset_baselines.{call}"
    return [sys.executable, "-c", code]


def _drain(elements: Iterable[object]) -> None:
    """Iterate to the end."""
    for _ in elements:
        pass


def _write_shards(folder: pathlib.Path, like: manifest.Dataset) -> manifest.Dataset:
    """Write shards of noise, large enough to time, and return their dataset."""
    frames = np.random.default_rng(0).normal(-5, 3, (_FRAMES, like.audio.channels))
    frames = frames.astype(np.float16)
    folder.mkdir()
    shards = []
    for index in range(_SHARDS):
        name = f"train-{index:05d}-of-{_SHARDS:05d}.tfrecord"
        segments = (records.Segment(frames, index, _FRAMES * n) for n in range(_RECORDS))
        content = b"".join(records.frame(records.encode(segment)) for segment in segments)
        (folder / name).write_bytes(content)
        shard = manifest.Shard(
            name=name, records=_RECORDS, bytes=len(content), sha256="", frames=(_FRAMES,) * _RECORDS
        )
        shards.append(shard)
    nothing = manifest.Split(recordings=0, shards=(), seconds=0.0)
    train = manifest.Split(recordings=_SHARDS, shards=tuple(shards), seconds=0.0)
    return manifest.Dataset(
        data_dir=str(folder),
        audio=like.audio,
        segment=like.segment,
        split=like.split,
        normalisation=like.normalisation,
        splits={"train": train, "validation": nothing, "test": nothing},
        plan="",
        fingerprint="",
    )
