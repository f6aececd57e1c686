"""A preparation into a bucket that is taken away, at any point, and run again."""

import os
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import buckets
import commands
import pytest

from lstm_gen.platform import failpoints

# A shard a recording; nothing is fitted, so one that is begun is begun for its shard.
SETTINGS = ("--representation=log_stft", "--split=recording")
N_RECORDINGS, N_WORKERS = 13, 2  # no more recordings than would each get a shard of its own
# What is written to a bucket has no steps of its own: it is there whole, or not.
POINTS = tuple(point for point in failpoints.POINTS if not point.startswith("file."))


class Preparations:
    """Preparations of the same recordings, into folders of a bucket.

    Attributes:
      bucket: Where all is.
      whole: The names that an unbroken preparation leaves, working state included.
      seconds: What it took.
      n_begun_unbroken: How many recordings, each with a shard of its own, it began.
      tree: sha256 by name of its dataset, which is the one made on this machine.
    """

    def __init__(self, bucket: buckets.Bucket, folder: pathlib.Path) -> None:
        recordings = commands.make_recordings(N_RECORDINGS, seconds=60)
        commands.put(bucket, recordings)
        self.bucket = bucket
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        began = time.monotonic()
        self.finish("unbroken")
        self.seconds = time.monotonic() - began
        self.n_begun_unbroken = self.n_begun()
        assert self.n_begun_unbroken == len(recordings)
        self.whole = set(bucket.contents("unbroken/"))
        self.tree = commands.digests(bucket.contents("unbroken/"))
        assert self.tree == commands.local_tree(bucket, folder, recordings, *SETTINGS)
        assert list(self._scratch.iterdir()) == []

    def start(self, data_dir: str, failpoint: str = "") -> subprocess.Popen[str]:
        return commands.start(
            "create_tfrecord",
            *(*commands.PREPARE, *SETTINGS),
            f"--workers={N_WORKERS}",
            f"--input_dir={self.bucket.url}/recordings",
            f"--data_dir={self.bucket.url}/{data_dir}",
            bucket=self.bucket,
            LSTM_GEN_FAILPOINT=failpoint,
            TMPDIR=str(self._scratch),
        )

    def finish(self, data_dir: str) -> None:
        process = self.start(data_dir)
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints

    def n_begun(self) -> int:
        """Return how often workers began a recording, of which they ask thrice what it is."""
        asked = "GET /storage/v1/b/bucket/o/recordings%2F"
        return sum(request.startswith(asked) for request in self.bucket.server.requests) // 3

    def uploads_redone(self, data_dir: str) -> int:
        """Return how many shards of a dataset were uploaded that had been before."""
        shards = [name for name in self.whole if name.endswith(".tfrecord")]
        return sum(self.bucket.times_written(f"{data_dir}/{name}") - 1 for name in shards)

    def done(self, data_dir: str) -> dict[str, int]:
        """Return the version of each shard that has its receipt."""
        versions = self.bucket.versions(f"{data_dir}/")
        tasks = [name for name in versions if name.startswith(".state/tasks/")]
        shards = [f"{pathlib.PurePosixPath(name).stem}.tfrecord" for name in tasks]
        return {name: versions[name] for name in shards}

    def check(self, data_dir: str) -> None:
        """Check that a folder is as if nothing had happened, with nothing left over."""
        assert commands.digests(self.bucket.contents(f"{data_dir}/")) == self.tree
        assert set(self.bucket.contents(f"{data_dir}/")) == self.whole


@pytest.fixture(scope="module")
def preparations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preparations]:
    """Yield preparations of which one has been made."""
    folder = tmp_path_factory.mktemp("bucket")
    with buckets.serve(folder) as bucket:
        yield Preparations(bucket, folder)


@pytest.mark.parametrize(
    "points",
    [("shard.verified", "receipt.written"), pytest.param(POINTS, marks=pytest.mark.faults)],
    ids=["some", "every"],
)
def test_killed_at_commit_steps(
    points: tuple[str, ...], preparations: Preparations, tmp_path: pathlib.Path
) -> None:
    for point in points:
        mark = tmp_path / point
        process = preparations.start(point, f"{point}:1:{mark}")
        process.communicate(timeout=120)
        assert mark.exists()
        assert process.returncode == -signal.SIGKILL
        before = preparations.done(point)
        preparations.finish(point)
        preparations.check(point)
        assert before.items() <= preparations.done(point).items()  # nothing was done again


@pytest.mark.parametrize("n_kills", [3, pytest.param(50, marks=pytest.mark.faults)])
def test_killed_at_random_times(n_kills: int, preparations: Preparations) -> None:
    chance = random.Random(n_kills)
    kills = at_work = uploads_redone = 0
    n_begun_before, seconds = preparations.n_begun(), preparations.seconds
    made: list[str] = []
    while kills < n_kills or not made:
        data_dir = f"made-{len(made)}"
        before = preparations.done(data_dir)
        began = time.monotonic()
        process = preparations.start(data_dir)
        if ends_within(process, chance.uniform(0.3, 1.0) * seconds):
            seconds = min(seconds, time.monotonic() - began)  # the machine may be less busy now
        else:
            kills += 1
            at_work += bool(preparations.bucket.contents(f"{data_dir}/.state/"))
            if kills == n_kills:
                preparations.finish(data_dir)
        assert before.items() <= preparations.done(data_dir).items()  # nothing was done again
        if process.returncode == 0 or kills == n_kills:
            preparations.check(data_dir)
            uploads_redone += preparations.uploads_redone(data_dir)
            made.append(data_dir)
    begun_again = (
        preparations.n_begun() - n_begun_before - len(made) * preparations.n_begun_unbroken
    )
    print(
        f"\n{kills} kills, {at_work} at work, {len(made)} datasets; of {N_WORKERS} workers' shards "
        f"{begun_again} were begun again, {uploads_redone} uploaded again"
    )
    assert uploads_redone <= begun_again <= kills * N_WORKERS
    assert at_work >= kills // 2  # the others came before it had begun


def ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether a command ends well in so many seconds; kill it with its workers if it does not."""
    try:
        _, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, complaints
    return True
