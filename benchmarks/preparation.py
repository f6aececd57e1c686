"""Preparation as a whole command (`create_tfrecord.py`), and recordings for it.

Recordings come from `../shared/data/music` if that folder exists, else they are synthesised.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import soundfile

ROOT = pathlib.Path(__file__).parents[1]
LONGEST = "trow_acoustic_guitar_arrangement.mp3"
HOUR_SECONDS = 3600
_MUSIC = ROOT.parent / "shared" / "data" / "music"
RATE = 44100
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def command(input_dir: pathlib.Path, data_dir: pathlib.Path, workers: int) -> list[str]:
    """Return the command line of a preparation."""
    program = [sys.executable, "create_tfrecord.py", f"--workers={workers}"]
    return [*program, f"--input_dir={input_dir}", f"--data_dir={data_dir}"]


def prepare(
    input_dir: pathlib.Path,
    data_dir: pathlib.Path,
    workers: int,
    *options: str,
    root: pathlib.Path = ROOT,
) -> str:
    """Make a dataset from scratch; an existing one is deleted, since it would be reused.

    Returns:
      Standard output of the command.
    """
    shutil.rmtree(data_dir, ignore_errors=True)
    return run([*command(input_dir, data_dir, workers), *options], root)


def run(line: list[str], root: pathlib.Path = ROOT) -> str:
    """Run a command in a project's folder, linear algebra on one thread.

    Returns:
      Its standard output.
    """
    environment = {**os.environ, **_ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def peak_memory(input_dir: pathlib.Path, data_dir: pathlib.Path, workers: int) -> tuple[int, float]:
    """Make a dataset; return the peak memory of its largest process, bytes, and the seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command(input_dir, data_dir, workers),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("create_tfrecord.py failed")
    return usage.ru_maxrss * 1024, time.perf_counter() - start


def find_music(scratch: pathlib.Path) -> pathlib.Path:
    """Return the folder of recordings, synthesised if there is none."""
    if _MUSIC.is_dir():
        return _MUSIC
    folder = scratch / "music"
    folder.mkdir()
    for index, seconds in enumerate((222, 150, 120, 90, 90, 60, 60, 60)):
        name = LONGEST if index == 0 else f"{index}.mp3"
        soundfile.write(folder / name, tone(RATE * seconds, 220 + 55 * index), RATE)
    return folder


def write_hour(path: pathlib.Path, frequency_hz: float) -> None:
    """Write an hour of stereo audio, a minute at a time."""
    minute = tone(RATE * 60, frequency_hz)
    stereo = np.stack([minute, 0.8 * minute], axis=1)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(HOUR_SECONDS // 60):
            file.write(stereo)


def tone(n_samples: int, frequency_hz: float) -> np.ndarray:
    """Return a repeated decaying tone in noise, float32 [n_samples]."""
    seconds = np.arange(n_samples, dtype=np.float32) / RATE
    noise = np.random.default_rng(0).standard_normal(n_samples, dtype=np.float32)
    beat = np.exp(-3 * (seconds % 0.5))
    return (beat * np.sin(2 * np.pi * frequency_hz * seconds) / 2 + noise / 50).astype(np.float32)
