"""A status for every file: broken and hostile ones among good ones, through the whole command."""

import ast
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections import Counter

import bad_audio
import material
import numpy as np
import pytest

from lstm_gen.audio import files
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import integrity, manifest, records
from lstm_gen.dataset.prepare import discover, plan
from lstm_gen.dataset.prepare import shards as writer
from lstm_gen.platform import errors, storage

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ("--sample_rate=8000", "--n_fft=256", "--hop_length=128", "--n_mels=8", "--workers=2")
MOST_RESIDENT_BYTES = 1_500_000_000
# The command as a child of a small process: what its own children used at most is then theirs.
MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("kilobytes", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
Records = dict[tuple[int, int], bytes]


def create(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run create_tfrecord.py, without ffmpeg, and print what it needed at the end."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "create_tfrecord.py", *FLAGS]
    return subprocess.run(
        [*command, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PATH": "/nowhere"},
    )


def stored(data_dir: pathlib.Path) -> Records:
    """Return the frames of every record by recording and place; all are finite."""
    dataset = manifest.load(str(data_dir))
    found: Records = {}
    for split in manifest.SPLITS:
        for shard in dataset.splits[split].shards:
            for segment in records.read_segments(dataset.path(shard), 8, "float16"):
                assert np.isfinite(segment.frames).all()
                assert (segment.recording, segment.start_frame) not in found
                found[segment.recording, segment.start_frame] = segment.frames.tobytes()
    return found


def shards(data_dir: pathlib.Path) -> dict[str, bytes]:
    """Return every shard's content by name."""
    return {path.name: path.read_bytes() for path in data_dir.glob("*.tfrecord")}


def snapshot(folder: pathlib.Path) -> dict[str, float]:
    """Return everything below a folder, with when it last changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def check_folder(tmp_path: pathlib.Path, seed: int, per_class: int, slow: bool = False) -> None:
    """Prepare bad files alone with good ones, and the good ones alone; compare."""
    wanted = bad_audio.make(tmp_path / "mixed", seed, per_class, slow)
    (tmp_path / "good").mkdir()
    good = [name for name, status in wanted.items() if status == "ok"]
    for name in good:
        copy = tmp_path / "good" / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((tmp_path / "mixed" / name).read_bytes())
    before = snapshot(tmp_path)
    made, alone = tmp_path / "made" / "mixed", tmp_path / "made" / "good"
    result = create(
        *(f"--input_dir={tmp_path / 'mixed'}", f"--data_dir={made}", "--max_bad_fraction=1")
    )
    assert result.returncode == 0, result.stderr
    lines = manifest.load_lines(str(made))
    found = {line["name"]: line["verdict"] for line in lines}
    assert len(found) == len(lines)
    # The same content can have any of its names first; the status of the other is known.
    assert Counter(found.values()) == Counter(wanted.values())
    assert {n: v for n, v in found.items() if v != wanted[n]} == {}
    assert all(str(line["detail"]).isprintable() for line in lines)
    assert all(str(tmp_path) not in line["detail"] for line in lines)
    assert all(line.isprintable() for line in result.stdout.splitlines())
    needed = int(re.findall(r"kilobytes (\d+)", result.stdout)[0]) * 1024
    assert needed < MOST_RESIDENT_BYTES
    print(f"\n{len(wanted)} files, {Counter(found.values())}, {needed / 1e6:.0f} MB at most")

    result = create(f"--input_dir={tmp_path / 'good'}", f"--data_dir={alone}")
    assert result.returncode == 0, result.stderr
    assert stored(made) == stored(alone)
    assert shards(made) == shards(alone)
    changed = {name for name in snapshot(tmp_path).items() if name not in before.items()}
    assert {pathlib.Path(name).relative_to(tmp_path).parts[0] for name, _ in changed} == {"made"}


def test_bad_files_of_every_kind_cost_only_themselves(tmp_path: pathlib.Path) -> None:
    assert len(bad_audio.CONTENTS) >= 30
    check_folder(tmp_path, seed=1, per_class=1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3])
def test_hundreds_of_bad_files_cost_only_themselves(tmp_path: pathlib.Path, seed: int) -> None:
    check_folder(tmp_path, seed, per_class=5, slow=True)


@pytest.mark.faults
def test_every_file_is_judged_within_seconds(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "mixed"
    bad_audio.make(folder, seed=4, per_class=5, slow=True)
    seconds = {}
    for name in discover.find(str(folder))[0]:
        start = time.perf_counter()
        with contextlib.suppress(files.AudioError):
            for _ in files.read_blocks(str(folder / name), bad_audio.RATE):
                pass
        seconds[name] = time.perf_counter() - start
    slowest = max(seconds, key=seconds.__getitem__)
    print(f"\nthe slowest of {len(seconds)} took {seconds[slowest]:.2f} s: {slowest!r}")


def test_too_many_bad_files_are_a_failure(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(5)
    for index in range(3):
        (tmp_path / "in" / f"{index}.wav").write_bytes(bad_audio.encode(bad_audio.sound(random)))
        (tmp_path / "in" / f"bad{index}.wav").write_bytes(random.bytes(99))
    flags = (f"--input_dir={tmp_path / 'in'}", f"--data_dir={tmp_path / 'out'}")
    result = create(*flags, "--max_bad_fraction=0.4")
    assert result.returncode == 1
    assert "3 of 6" in result.stderr
    assert result.stderr.count("error: ") == 1
    assert manifest.load(str(tmp_path / "out")).splits["train"].recordings > 0
    again = create(*flags)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert "3 of 6 recordings, 50.0%" in again.stdout


@pytest.mark.parametrize(
    ("counts", "limit", "words"),
    [
        ({"ok": 9, "silent": 1}, 0.1, "1 of 10 recordings, 10.0%"),
        ({"ok": 9, "silent": 1}, 0.09, None),
        ({"ok": 1, "not_audio": 50, "duplicate": 50}, 0.0, "0 of 1 recordings, 0.0%"),
        ({"ok": 1, "crashed": 1}, 0.0, None),
        ({"outside": 3}, 1.0, "3 of 3 recordings, 100.0%"),
        ({}, 0.0, "0 of 0 recordings, 0.0%"),
    ],
)
def test_the_share_of_bad_recordings(
    counts: dict[str, int], limit: float, words: str | None
) -> None:
    lines = [{"verdict": status} for status, n in counts.items() for _ in range(n)]
    if words:
        assert words in inspection.check_bad_fraction(lines, limit)
        return
    with pytest.raises(errors.InputError, match=r"left out, 1 of .*max_bad_fraction="):
        inspection.check_bad_fraction(lines, limit)


def test_names_are_shown_on_one_line() -> None:
    assert manifest.printable("ä b.wav") == "ä b.wav"
    assert manifest.printable("a\nb\x1b\u202e") == r"a\nb\x1b\u202e"
    assert manifest.printable(os.fsdecode(b"\xe9")) == r"\udce9"


@pytest.mark.parametrize("name", ["../a.wav", "a//b.wav", "/etc/a.wav", "a/./b.wav", "a\0.wav"])
def test_names_in_a_bucket_that_lead_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "is_directory", lambda _: True)
    monkeypatch.setattr(storage, "walk_files", lambda _: ["a.wav", name])
    names, left_out = discover.find("gs://bucket/recordings")
    assert names == ["a.wav"]
    assert [(entry.name, entry.status) for entry in left_out] == [(name, "bad_name")]


def test_a_file_that_may_not_be_looked_at(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.wav").write_bytes(b"sound")
    monkeypatch.setattr(pathlib.Path, "stat", refuse)
    assert discover.find_problem(str(tmp_path), "a.wav") == ("denied", "Permission denied")


def test_memory_is_bounded() -> None:
    code = (
        "from lstm_gen.dataset.prepare import shards, workers; import numpy as np\n"
        "workers.limit_memory()\n"
        "np.ones(900 << 20, np.uint8)\n"
        "try: np.ones(1500 << 20, np.uint8)\n"
        "except MemoryError: print('refused')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "refused\n"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), "memory", "more memory"),
        (ZeroDivisionError("by\nzero"), "failed", "ZeroDivisionError: by zero"),
    ],
)
def test_whatever_a_decoder_does_costs_one_recording(
    error: Exception,
    status: str,
    words: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"sound")
    job = material.make_job(tmp_path / "in", tmp_path / "out")
    known = integrity.HashCache(str(tmp_path / "digests.json"))
    planned = plan.make(job, known)
    monkeypatch.setattr(files, "read_blocks", fail)
    outcomes: list[plan.Outcome] = []
    (task,) = (task for task in planned.tasks if task.recordings)
    writer.write_task(planned.job, task, (), lambda _: None, outcomes.append)
    assert [outcome.status for outcome in outcomes] == [status]
    assert words in outcomes[0].detail


def test_every_status_is_listed_and_used() -> None:
    sources = [p for p in (ROOT / "lstm_gen").rglob("*.py") if p.name != "manifest.py"]
    literals = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(manifest.STATUSES) <= literals
    raised = {
        argument.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and re.fullmatch(r"(files\.)?(require|AudioError)", ast.unparse(node.func))
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and re.fullmatch("[a-z_]+", str(argument.value))
    }
    assert raised
    assert raised <= set(manifest.STATUSES)


def test_every_status_is_documented() -> None:
    text = (ROOT / "docs" / "formats.md").read_text()
    for code, meaning in manifest.STATUSES.items():
        assert f"| `{code}` | {meaning} |" in text


def test_the_details_survive_json() -> None:
    error = files.AudioError("empty", "expected more", path=os.fsdecode(b"/a\xe9"), n=1)
    assert error.detail == "expected more. Received: n=1"
    assert json.loads(json.dumps(str(error))) == str(error)


def test_long_frames_shorten_the_longest_recording() -> None:
    usual = AudioConfig()
    assert writer.longest_seconds(usual, "float16") == 4 * 3600
    dense = AudioConfig(hop_length=64, n_mels=1024)
    assert 60 < writer.longest_seconds(dense, "float32") < 600
