"""Preparations of `recordings` by the command, or in this process, and what they leave."""

import hashlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from lstm_gen.dataset.format import integrity
from lstm_gen.dataset.prepare import plan, shards, workers

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = (
    *("--sample_rate=8000", "--n_fft=256", "--hop_length=128", "--n_mels=8"),
    *("--segment_frames=100", "--validation_fraction=0.3", "--workers=2"),
)


def tree(folder: pathlib.Path) -> dict[str, str]:
    """Return the digest of every file of the dataset, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and integrity.STATE_DIR not in path.parts
    }


def start(
    recordings: pathlib.Path, data_dir: pathlib.Path, *flags: str, **environment: str
) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    command = [sys.executable, "create_tfrecord.py", *FLAGS, *flags]
    return subprocess.Popen(
        [*command, f"--input_dir={recordings}", f"--data_dir={data_dir}"],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    """Return the output of a process that ends well."""
    output, complaints = process.communicate(timeout=120)
    assert process.returncode == 0, complaints
    return output


def work_here(
    job: plan.Job,
    tasks: Sequence[plan.Task],
    _: int,
    report: Callable[[plan.Outcome], None],
    work: workers.Work = shards.write_task,
) -> None:
    """Do the tasks in this process, in place of `workers.run`."""
    for task in tasks:
        work(job, task, (), lambda _: None, report)


def shards_done(data_dir: pathlib.Path) -> dict[str, int]:
    """Return when each shard that has its receipt was written."""
    done = {path.stem for path in (data_dir / ".state" / "tasks").glob("*.json")}
    return {
        path.name: path.stat().st_mtime_ns
        for path in data_dir.glob("*.tfrecord")
        if path.stem in done
    }
