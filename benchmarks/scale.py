"""Large preparations: memory, repetition, incremental update, workers, earlier version.

Every figure is of a whole command, so it includes the start of the interpreter.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import soundfile

from benchmarks import harness, preparation

_MANY, _FEWER = 10_000, 1_000
_RATE = 8000
_WORKERS = 2
_HOURS, _FEW_HOURS = 20, 2
_FILE_SECONDS = 600
_FIRST_VERSION = "6794b3d"
"""The commit that first prepared, trained and generated; see the changelog."""


def rows() -> list[harness.Row]:
    """Measure memory, a repeated run, one changed recording, workers, and the first version."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        # First, while this process is small: a child's peak RSS includes its parent's at the fork.
        measured = [_measure_memory(scratch), _measure_again(scratch), _measure_touch(scratch)]
        music = preparation.find_music(scratch)
        measured.append(_measure_workers(scratch))
        return [*measured, *_measure_first(music, scratch)]


def _measure_memory(scratch: pathlib.Path) -> harness.Row:
    """Return the memory for twenty hours of audio relative to one hour."""
    one = preparation.peak_memory(_write_hours(scratch, 1), scratch / "one-dataset", _WORKERS)
    many = preparation.peak_memory(_write_hours(scratch, _HOURS), scratch / "all-dataset", _WORKERS)
    return harness.Row(
        what=f"memory for {_HOURS} hours of audio",
        baseline="memory for one hour",
        value=many[0] / one[0],
        unit="x",
        target=1.1,
        at_least=False,
        detail=f"{many[0] / 2**20:.0f} MiB beside {one[0] / 2**20:.0f} MiB, the largest process; "
        f"{_HOURS * preparation.HOUR_SECONDS / many[1]:.0f} x real time",
    )


def _measure_again(scratch: pathlib.Path) -> harness.Row:
    """Return the seconds of a repeated run on a complete dataset, less those of listing it."""
    folder, dataset = scratch / "many", scratch / "many-dataset"
    _write_many(folder, _MANY)
    preparation.prepare(folder, dataset, _WORKERS)
    again = preparation.command(folder, dataset, _WORKERS)
    walk = "import os, sys; [os.stat(f) for f in os.scandir(sys.argv[1])]"
    outputs = []
    times = harness.interleave(
        {
            "again": lambda: outputs.append(preparation.run(again)),
            "listing": lambda: preparation.run([sys.executable, "-c", walk, str(folder)]),
        },
        rounds=5,
    )
    if not all("nothing to do" in text for text in outputs):
        raise RuntimeError(f"a complete dataset must need no work; printed {outputs[-1]!r}")
    beyond = [
        ours - listing for ours, listing in zip(times["again"], times["listing"], strict=True)
    ]
    return harness.Row(
        what=f"a complete dataset of {_MANY:,} recordings again, whole command",
        baseline="a process that stats each of the files",
        value=float(np.median(beyond)),
        unit="s more",
        target=2.0,
        at_least=False,
        detail=f"{np.median(times['again']):.2f} s beside {np.median(times['listing']):.2f} s; no "
        "recording decoded",
    )


def _measure_touch(scratch: pathlib.Path) -> harness.Row:
    """Return the number of shards rewritten after one recording changed."""
    folder, dataset = scratch / "fewer", scratch / "fewer-dataset"
    _write_many(folder, _FEWER)
    preparation.prepare(folder, dataset, _WORKERS)
    before = _shards(dataset)
    _write(folder / "00500.wav", _MANY)
    preparation.run(preparation.command(folder, dataset, _WORKERS))
    after = _shards(dataset)
    written = [name for name, stamp in after.items() if before.get(name) != stamp]
    return harness.Row(
        what=f"one of {_FEWER:,} recordings changed: shards written",
        baseline="its old shard and its new shard",
        value=len(written),
        unit="shards",
        target=2,
        at_least=False,
        detail=f"of {len(after)}",
    )


def _measure_workers(scratch: pathlib.Path) -> harness.Row:
    """Return the speed of two workers relative to one."""
    folder, dataset = _write_hours(scratch, _HOURS), scratch / "workers-dataset"
    times = harness.interleave(
        {
            "one": lambda: preparation.prepare(folder, dataset, 1),
            "two": lambda: preparation.prepare(folder, dataset, 2),
        },
        rounds=3,
        warmup=0,
    )
    return harness.Row(
        what=f"preparing {_HOURS} hours with 2 workers",
        baseline="with 1 worker",
        value=harness.ratio(times["one"], times["two"]),
        unit="x",
        target=1.7,
        detail=f"{np.median(times['two']):.1f} s beside {np.median(times['one']):.1f} s",
    )


def _measure_first(music: pathlib.Path, scratch: pathlib.Path) -> list[harness.Row]:
    """Return the speed relative to the first version, if git has its commit."""
    before, dataset = scratch / "before", scratch / "before-dataset"
    before.mkdir()
    archive = subprocess.run(
        ["git", "archive", _FIRST_VERSION], cwd=preparation.ROOT, capture_output=True
    )
    if archive.returncode:
        return []
    subprocess.run(["tar", "-x", "-C", str(before)], input=archive.stdout, check=True)
    folders = {
        "a folder of music": music,
        f"{_FEW_HOURS} hours": _write_hours(scratch, _FEW_HOURS),
    }
    return [_compare_to_first(what, folder, dataset, before) for what, folder in folders.items()]


def _compare_to_first(
    what: str, folder: pathlib.Path, dataset: pathlib.Path, before: pathlib.Path
) -> harness.Row:
    """Return the speed of preparing a folder relative to another version of the project."""
    times = harness.interleave(
        {
            "now": lambda: preparation.prepare(folder, dataset, _WORKERS),
            "then": lambda: preparation.prepare(folder, dataset, _WORKERS, root=before),
        },
        rounds=7,
    )
    return harness.Row(
        what=f"preparing {what}, whole command",
        baseline=f"the same by the first version ({_FIRST_VERSION})",
        value=harness.ratio(times["then"], times["now"]),
        unit="x",
        target=1.0,
        detail=f"{np.median(times['now']):.2f} s beside {np.median(times['then']):.2f} s",
    )


def _write_hours(scratch: pathlib.Path, hours: int) -> pathlib.Path:
    """Write hours of audio as distinct files; return their folder."""
    folder = scratch / f"{hours}-hours"
    if folder.is_dir():
        return folder
    folder.mkdir()
    for index in range(hours * preparation.HOUR_SECONDS // _FILE_SECONDS):
        minute = preparation.tone(preparation.RATE * 60, 220.0 + index)
        with soundfile.SoundFile(folder / f"{index:03d}.wav", "w", preparation.RATE, 1) as file:
            for _ in range(_FILE_SECONDS // 60):
                file.write(minute)
    return folder


def _write_many(folder: pathlib.Path, count: int) -> None:
    """Write distinct short recordings."""
    folder.mkdir()
    for index in range(count):
        _write(folder / f"{index:05d}.wav", index)


def _write(path: pathlib.Path, seed: int) -> None:
    """Write a second of noise."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, _RATE)
    soundfile.write(path, noise, _RATE)


def _shards(data_dir: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Return the modification time and inode of each shard."""
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in data_dir.glob("*.tfrecord")
    }
