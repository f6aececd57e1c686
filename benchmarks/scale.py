"""What becomes of a preparation when there is a lot of it: again, in part, wider, longer.

Whole commands, all of them, so a start of the interpreter is part of every figure.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import soundfile

from benchmarks import harness, preparing

_MANY, _FEWER = 10_000, 1_000
_RATE = 8000
_WORKERS = 2
_HOURS, _FEW_HOURS = 20, 2
_PIECE_SECONDS = 600
_END_TO_END = "6794b3d"
"""The commit that first prepared, trained and generated; see the changelog."""


def rows() -> list[harness.Row]:
    """Measure memory, a complete dataset again, one recording touched, workers, and before."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        # First, while this process is small: a child's peak counts from its parent's size.
        measured = [_measure_memory(scratch), _measure_again(scratch), _measure_touch(scratch)]
        music = preparing.find_music(scratch)
        measured.append(_measure_workers(scratch))
        return [*measured, *_measure_before(music, scratch)]


def _measure_memory(scratch: pathlib.Path) -> harness.Row:
    """Return how much more memory twenty hours take than one."""
    one = preparing.peak_memory(_write_hours(scratch, 1), scratch / "one-dataset", _WORKERS)
    many = preparing.peak_memory(_write_hours(scratch, _HOURS), scratch / "all-dataset", _WORKERS)
    return harness.Row(
        what=f"memory for {_HOURS} hours of audio",
        beside="memory for one hour",
        value=many[0] / one[0],
        unit="x",
        reach=1.1,
        at_least=False,
        detail=f"{many[0] / 2**20:.0f} MiB beside {one[0] / 2**20:.0f} MiB, the largest process; "
        f"{_HOURS * preparing.HOUR_SECONDS / many[1]:.0f} x real time",
    )


def _measure_again(scratch: pathlib.Path) -> harness.Row:
    """Return what a complete dataset costs again, beyond a look at every file."""
    folder, dataset = scratch / "many", scratch / "many-dataset"
    _write_many(folder, _MANY)
    preparing.prepare(folder, dataset, _WORKERS)
    again = preparing.command(folder, dataset, _WORKERS)
    walk = "import os, sys; [os.stat(f) for f in os.scandir(sys.argv[1])]"
    said = []
    times = harness.take_turns(
        {
            "again": lambda: said.append(preparing.run(again)),
            "listing": lambda: preparing.run([sys.executable, "-c", walk, str(folder)]),
        },
        rounds=5,
    )
    if not all("nothing to do" in text for text in said):
        raise RuntimeError(f"a complete dataset must need no work; printed {said[-1]!r}")
    beyond = [
        ours - listing for ours, listing in zip(times["again"], times["listing"], strict=True)
    ]
    return harness.Row(
        what=f"a complete dataset of {_MANY:,} recordings again, whole command",
        beside="a process that looks at each of the files",
        value=float(np.median(beyond)),
        unit="s more",
        reach=2.0,
        at_least=False,
        detail=f"{np.median(times['again']):.2f} s beside {np.median(times['listing']):.2f} s; no "
        "recording decoded",
    )


def _measure_touch(scratch: pathlib.Path) -> harness.Row:
    """Return how many shards are written again when one recording of many has changed."""
    folder, dataset = scratch / "fewer", scratch / "fewer-dataset"
    _write_many(folder, _FEWER)
    preparing.prepare(folder, dataset, _WORKERS)
    before = _shards(dataset)
    _write(folder / "00500.wav", _MANY)
    preparing.run(preparing.command(folder, dataset, _WORKERS))
    after = _shards(dataset)
    written = [name for name, stamp in after.items() if before.get(name) != stamp]
    return harness.Row(
        what=f"one of {_FEWER:,} recordings changed: shards written",
        beside="the shard that it left, and the one that it joins",
        value=len(written),
        unit="shards",
        reach=2,
        at_least=False,
        detail=f"of {len(after)}",
    )


def _measure_workers(scratch: pathlib.Path) -> harness.Row:
    """Return how much faster two workers are than one."""
    folder, dataset = _write_hours(scratch, _HOURS), scratch / "workers-dataset"
    times = harness.take_turns(
        {
            "one": lambda: preparing.prepare(folder, dataset, 1),
            "two": lambda: preparing.prepare(folder, dataset, 2),
        },
        rounds=3,
        warmup=0,
    )
    return harness.Row(
        what=f"preparing {_HOURS} hours with 2 workers",
        beside="with 1 worker",
        value=harness.ratio(times["one"], times["two"]),
        unit="x",
        reach=1.7,
        detail=f"{np.median(times['two']):.1f} s beside {np.median(times['one']):.1f} s",
    )


def _measure_before(music: pathlib.Path, scratch: pathlib.Path) -> list[harness.Row]:
    """Return the speed beside that of the first version, if the history is here."""
    before, dataset = scratch / "before", scratch / "before-dataset"
    before.mkdir()
    archive = subprocess.run(
        ["git", "archive", _END_TO_END], cwd=preparing.ROOT, capture_output=True
    )
    if archive.returncode:
        return []
    subprocess.run(["tar", "-x", "-C", str(before)], input=archive.stdout, check=True)
    folders = {
        "a folder of music": music,
        f"{_FEW_HOURS} hours": _write_hours(scratch, _FEW_HOURS),
    }
    return [_beside_before(what, folder, dataset, before) for what, folder in folders.items()]


def _beside_before(
    what: str, folder: pathlib.Path, dataset: pathlib.Path, before: pathlib.Path
) -> harness.Row:
    """Return the speed of preparing a folder beside that of another version of the project."""
    times = harness.take_turns(
        {
            "now": lambda: preparing.prepare(folder, dataset, _WORKERS),
            "then": lambda: preparing.prepare(folder, dataset, _WORKERS, root=before),
        },
        rounds=7,
    )
    return harness.Row(
        what=f"preparing {what}, whole command",
        beside=f"the same by the first version ({_END_TO_END})",
        value=harness.ratio(times["then"], times["now"]),
        unit="x",
        reach=1.0,
        detail=f"{np.median(times['now']):.2f} s beside {np.median(times['then']):.2f} s",
    )


def _write_hours(scratch: pathlib.Path, hours: int) -> pathlib.Path:
    """Write hours of sound in pieces, each of its own content; return their folder."""
    folder = scratch / f"{hours}-hours"
    if folder.is_dir():
        return folder
    folder.mkdir()
    for index in range(hours * preparing.HOUR_SECONDS // _PIECE_SECONDS):
        minute = preparing.tone(preparing.RATE * 60, 220.0 + index)
        with soundfile.SoundFile(folder / f"{index:03d}.wav", "w", preparing.RATE, 1) as file:
            for _ in range(_PIECE_SECONDS // 60):
                file.write(minute)
    return folder


def _write_many(folder: pathlib.Path, count: int) -> None:
    """Write short recordings, each of its own content."""
    folder.mkdir()
    for index in range(count):
        _write(folder / f"{index:05d}.wav", index)


def _write(path: pathlib.Path, seed: int) -> None:
    """Write a second of noise."""
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, _RATE)
    soundfile.write(path, noise, _RATE)


def _shards(data_dir: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Return when each shard was written, and what file it is."""
    return {
        path.name: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in data_dir.glob("*.tfrecord")
    }
