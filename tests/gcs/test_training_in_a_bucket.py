"""Training and generation from and to a bucket that fails, beside the same on this machine."""

import fnmatch
import os
import pathlib
import signal
import time

import buckets
import commands
import pytest
import server
import tensorflow as tf

FAULTS = ("429", "503", "reset", "short", "lost")
N_STEPS = 6
TRAIN = (
    *("--timesteps=16", "--layers=1", "--units=8", "--batch_size=4", "--components=2"),
    *("--steps_per_call=1", "--validate_every_steps=3", "--checkpoint_every_steps=2"),
    *("--sample_every_steps=0", f"--steps={N_STEPS}", "--nobaselines"),
)
SONGS = ("--n_songs=2", "--seconds=0.5", "--seed=3")


@pytest.mark.faults
@pytest.mark.parametrize(
    "kills",
    [
        (),
        # Amid the first state's upload, and after the second's.
        ("checkpoints/step-00000002/", "checkpoints/step-00000004/commit.json"),
    ],
    ids=["unbroken", "killed"],
)
def test_a_bucket_with_faults_changes_no_bit(
    kills: tuple[str, ...], bucket: buckets.Bucket, tmp_path: pathlib.Path
) -> None:
    recordings = commands.make_recordings(3)
    commands.local_tree(bucket, tmp_path, recordings)
    for path in (tmp_path / "dataset").iterdir():
        if path.is_file():
            bucket.put(f"dataset/{path.name}", path.read_bytes())
    train_and_generate(bucket, str(tmp_path))
    here = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    bucket.server.faults = faults = server.Faults(FAULTS, rate=0.15, seed=1)
    train_and_generate(bucket, bucket.url, kills)
    bucket.server.faults = server.Faults()
    print(f"\n{faults.fired.total()} faults, {len(kills)} kills: {dict(faults.fired)}")

    assert set(faults.fired) == set(FAULTS)
    there = bucket.contents()
    logged = [losses(select(files, "run/logs/*"), tmp_path) for files in (there, here)]
    assert list(logged[0]) == list(range(1, N_STEPS + 1))
    assert logged[0] == logged[1]
    for pattern in ("run/checkpoints/*/state.*", "run/model/*/state.*", "songs/*.wav"):
        assert select(there, pattern) == select(here, pattern), pattern


def train_and_generate(bucket: buckets.Bucket, place: str, kills: tuple[str, ...] = ()) -> None:
    """Train in a place, killed when such objects appear and begun again, and make songs there."""
    flags = (*TRAIN, f"--data_dir={place}/dataset", f"--run_dir={place}/run")
    for name in kills:
        process = commands.start("train_model", *flags, bucket=bucket)
        while process.poll() is None and not bucket.contents(f"run/{name}"):
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    commands.finish("train_model", *flags, bucket=bucket)
    places = (f"--run_dir={place}/run", f"--output_dir={place}/songs")
    commands.finish("generate_songs", *SONGS, *places, bucket=bucket)


def select(files: dict[str, bytes], pattern: str) -> dict[str, bytes]:
    """Return the files whose names match, which some must."""
    found = {name: content for name, content in files.items() if fnmatch.fnmatch(name, pattern)}
    assert found
    return found


def losses(logs: dict[str, bytes], folder: pathlib.Path) -> dict[int, str]:
    """Return the loss of each step in TensorBoard's files, hexadecimal; the last life's counts."""
    found = {}
    for name in sorted(logs):
        path = folder / "events"
        path.write_bytes(logs[name])
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.tag.startswith("train/") and value.tag.endswith("_loss"):
                    found[event.step] = float(tf.make_ndarray(value.tensor)).hex()
    return dict(sorted(found.items()))
