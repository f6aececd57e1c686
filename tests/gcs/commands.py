"""The commands on a bucket, the recordings there, and what a dataset of them must be."""

import hashlib
import io
import os
import pathlib
import subprocess
import sys

import buckets
import numpy as np
import processes
import soundfile

ROOT = pathlib.Path(__file__).parents[2]
RATE = 8000
PREPARE = (
    *(f"--sample_rate={RATE}", "--n_fft=256", "--hop_length=128", "--n_mels=8"),
    *("--workers=1", "--block_seconds=1"),
)


def start(
    command: str, *arguments: str, bucket: buckets.Bucket, **environment: str
) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, ROOT / f"{command}.py", *arguments],
        env=os.environ | bucket.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(
    command: str, *arguments: str, bucket: buckets.Bucket, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, forked if it needs TensorFlow."""
    variables = bucket.environment | environment
    if command != "create_tfrecord":
        script = ROOT / f"{command}.py"
        return processes.run_python(script, *arguments, env=variables, timeout=300)
    process = start(command, *arguments, bucket=bucket, **environment)
    output, complaints = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, complaints)


def finish(command: str, *arguments: str, bucket: buckets.Bucket, **environment: str) -> str:
    """Return the output of a command that ends well."""
    result = run(command, *arguments, bucket=bucket, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def make_recordings(count: int, seconds: int = 6) -> dict[str, bytes]:
    """Return small recordings by name, one of them no recording at all."""
    made = {"deep/broken.wav": b"RIFF, but no more"}
    for index in range(count):
        time = np.arange(RATE * seconds) / RATE
        sound = io.BytesIO()
        tone = 0.4 * np.sin(2 * np.pi * (200 + 90 * index) * time) * (1 + 0.5 * np.sin(9 * time))
        soundfile.write(sound, tone, RATE, format="WAV")
        made[f"deep/{index}.wav" if index % 2 else f"{index}.wav"] = sound.getvalue()
    return made


def put(bucket: buckets.Bucket, recordings: dict[str, bytes]) -> None:
    """Have recordings in the bucket's folder `recordings`, and something beside it."""
    for name, content in recordings.items():
        bucket.put(f"recordings/{name}", content)
    bucket.put("recordings2/other.wav", b"")  # a neighbour by prefix


def local_tree(
    bucket: buckets.Bucket, folder: pathlib.Path, recordings: dict[str, bytes], *settings: str
) -> dict[str, str]:
    """Return sha256 by name of what a preparation makes of the recordings on this machine."""
    for name, content in recordings.items():
        path = folder / "recordings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    flags = (f"--input_dir={folder / 'recordings'}", f"--data_dir={folder / 'dataset'}")
    finish("create_tfrecord", *PREPARE, *settings, *flags, bucket=bucket)
    return digests(
        {
            path.relative_to(folder / "dataset").as_posix(): path.read_bytes()
            for path in (folder / "dataset").rglob("*")
            if path.is_file()
        }
    )


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    """Return sha256 of a dataset's files by name, working state aside."""
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
        if not name.startswith(".state/")
    }
