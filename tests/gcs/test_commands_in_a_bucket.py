"""The three commands on a bucket, as a user runs them; TensorFlow's own client included."""

import io
import json
import pathlib
import subprocess

import buckets
import commands
import pytest
import server
import soundfile

# After a fault the library leaves it to the collector to close a connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
TRAIN = (
    *("--timesteps=16", "--layers=1", "--units=8", "--batch_size=4", "--components=2"),
    *("--steps_per_call=2", "--validate_every_steps=4", "--checkpoint_every_steps=2"),
    *("--sample_every_steps=4", "--sample_seconds=0.2", "--steps=4", "--nobaselines"),
)


def check_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that a command ended with one line that says this, and no secret."""
    assert result.returncode == 1, result.stderr
    told = result.stderr.replace("\r", "\n").splitlines()  # a progress bar, TensorFlow's notes
    lines = [line for line in told if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert all(word in lines[0] for word in words), lines[0]
    assert "Traceback" not in result.stderr
    assert "SECRET" not in result.stderr + result.stdout


@pytest.mark.slow
def test_recordings_to_songs(bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    """With --gcs_bucket and with full paths; the dataset is that of a local run to the byte."""
    commands.put(bucket, commands.make_recordings(3))
    within = ("--read_local=false", "--gcs_bucket=bucket")
    made = commands.run(
        "create_tfrecord",
        *(*commands.PREPARE, *within, "--input_dir=recordings", "--data_dir=dataset"),
        bucket=bucket,
    )
    assert made.returncode == 0, made.stderr
    assert commands.digests(bucket.contents("dataset/")) == commands.local_tree(
        bucket, tmp_path, commands.make_recordings(3)
    )

    bucket.server.faults = faults = server.Faults(rate=0.1, seed=3)
    flags = ("--data_dir=gs://bucket/dataset", "--run_dir=gs://bucket/run")
    trained = commands.run("train_model", *TRAIN, *flags, bucket=bucket)
    assert trained.returncode == 0, trained.stderr
    assert faults.fired.total() > 0
    bucket.server.faults = server.Faults()
    names = set(bucket.contents("run/"))
    assert {"config.json", "checkpoints/step-00000004/commit.json"} <= names
    assert any(name.startswith("logs/events.out") for name in names)
    assert any(name.startswith("samples/") and name.endswith(".wav") for name in names)

    asked = ("--run_dir=run", "--n_songs=1", "--seconds=0.5", "--output_dir=songs")
    songs = commands.run("generate_songs", *within, *asked, bucket=bucket)
    assert songs.returncode == 0, songs.stderr
    assert list(bucket.contents("songs/")) == ["song-000.json", "song-000.png", "song-000.wav"]
    samples, rate = soundfile.read(io.BytesIO(bucket.contents("songs/")["song-000.wav"]))
    assert rate == commands.RATE
    assert len(samples) == pytest.approx(commands.RATE / 2, abs=128)
    assert json.loads(bucket.contents("songs/")["song-000.json"])["run_dir"] == "gs://bucket/run"

    bucket.server.faults = server.Faults(("403",), rate=1, request="run")
    refused = commands.run("train_model", *TRAIN, *flags, bucket=bucket)
    check_refused(refused, "gs://bucket/run/config.json", "403")
    check_refused(
        commands.run("generate_songs", *within, *asked, bucket=bucket), "gs://bucket/run", "403"
    )


@pytest.mark.parametrize(
    ("n_recordings", "rate", "n_faults", "seed"),
    [(4, 0.25, 20, 1), pytest.param(60, 0.5, 300, 2, marks=pytest.mark.faults)],
)
def test_faults_change_no_byte_of_a_dataset(
    bucket: buckets.Bucket,
    tmp_path: pathlib.Path,
    n_recordings: int,
    rate: float,
    n_faults: int,
    seed: int,
) -> None:
    recordings = commands.make_recordings(n_recordings)
    commands.put(bucket, recordings)
    bucket.server.faults = faults = server.Faults(rate=rate, seed=seed)
    flags = ("--input_dir=gs://bucket/recordings", "--data_dir=gs://bucket/dataset")
    made = commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket)
    assert made.returncode == 0, made.stderr
    assert set(faults.fired) == set(server.TRANSIENT)
    assert faults.fired.total() >= n_faults
    again = commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket)
    assert again.returncode == 0, again.stderr
    bucket.server.faults = server.Faults()
    assert commands.digests(bucket.contents("dataset/")) == commands.local_tree(
        bucket, tmp_path, recordings
    )


@pytest.mark.parametrize(
    ("status", "where", "words"),
    [
        ("403", "^GET /storage/v1/b/bucket/o$", ("gs://bucket/dataset", "role")),
        ("401", "^GET /download.*wav$", (".wav", "gcloud auth application-default login")),
        ("403", "^POST ", ("gs://bucket/dataset", "role")),
        ("404", "^POST ", ("gs://bucket/dataset", "no such bucket")),
    ],
)
def test_a_refusal_ends_a_preparation(
    bucket: buckets.Bucket, status: str, where: str, words: tuple[str, ...]
) -> None:
    commands.put(bucket, commands.make_recordings(2))
    bucket.server.faults = faults = server.Faults((status,), rate=1, request=where)
    flags = ("--input_dir=gs://bucket/recordings", "--data_dir=gs://bucket/dataset")
    check_refused(commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket), *words)
    assert faults.fired[status] >= 1
    assert "dataset/dataset.json" not in bucket.contents()


def test_a_dataset_in_a_bucket_is_known_without_fetching_it(bucket: buckets.Bucket) -> None:
    commands.put(bucket, commands.make_recordings(4))
    flags = ("--input_dir=gs://bucket/recordings", "--data_dir=gs://bucket/dataset")
    made = commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket)
    assert made.returncode == 0, made.stderr
    before = bucket.contents("dataset/")

    bucket.server.requests.clear()
    again = commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket)
    assert "nothing to do" in again.stdout, again.stderr
    assert not [r for r in bucket.server.requests if ".tfrecord" in r or ".wav" in r]
    assert not [r for r in bucket.server.requests if not r.startswith("GET ")]
    assert len(bucket.server.requests) < len(before) / 2 + 20  # the receipts, and a few listings

    damaged = max((name for name in before if "tfrecord" in name), key=lambda n: len(before[n]))
    bucket.put(f"dataset/{damaged}", before[damaged][:-1] + b"\0")
    mended = commands.run("create_tfrecord", *commands.PREPARE, *flags, bucket=bucket)
    assert mended.returncode == 0, mended.stderr
    assert commands.digests(bucket.contents("dataset/")) == commands.digests(before)
