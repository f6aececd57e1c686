"""Preemption benchmark: seconds from SIGTERM to the end of training, with the state saved.

The whole command on prepared music; frequent validations, rollouts and checkpoints, so that the
signal interrupts each of them. Clouds give 20 to 30 seconds before they reclaim a machine.
"""

import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from benchmarks import harness, preparation
from lstm_gen.runs import checkpoints, run

_TRIALS = 30
_LIMIT_SECONDS = 600
_OFTEN = (
    *("--steps=100000", "--steps_per_call=5", "--validate_every_steps=20"),
    *("--checkpoint_every_steps=30", "--sample_every_steps=20", "--fresh"),
)


def rows() -> list[harness.Row]:
    """Return the longest time to exit of all trials."""
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        preparation.prepare(preparation.find_music(scratch), scratch / "dataset", 2)
        seconds = [_stop(scratch, draw.uniform(0, 20)) for _ in range(_TRIALS)]
    return [
        harness.Row(
            what=f"SIGTERM to exit, the longest of {_TRIALS}, state saved each time",
            baseline="notice before a preemption",
            value=max(seconds),
            unit="s",
            target=20,
            at_least=False,
            detail=f"median {sorted(seconds)[_TRIALS // 2]:.1f} s",
        )
    ]


def _stop(scratch: pathlib.Path, after_seconds: float) -> float:
    """Return the seconds to exit of a training stopped `after_seconds` after its first step.

    Raises:
      RuntimeError: If the exit status is wrong or the state of the last step is missing.
    """
    run_dir = scratch / "run"
    line = [sys.executable, "train_model.py", f"--data_dir={scratch / 'dataset'}"]
    with (scratch / "log").open("w+") as log:
        process = subprocess.Popen(
            [*line, f"--run_dir={run_dir}", *_OFTEN],
            cwd=preparation.ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _await_first_step(process, scratch / "log")
        time.sleep(after_seconds)
        start = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        status = process.wait(_LIMIT_SECONDS)
        seconds = time.perf_counter() - start
    said = (scratch / "log").read_text()
    state = checkpoints.newest(run.checkpoints_dir(str(run_dir)))
    saved = state is not None and f"step {state.step} is saved" in said
    if status != 128 + signal.SIGTERM or not saved:
        raise RuntimeError(f"exit status {status}: {said[-500:]}")
    return seconds


def _await_first_step(process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    """Wait until the progress bar has moved.

    Raises:
      RuntimeError: If the training ends or does not start.
    """
    for _ in range(_LIMIT_SECONDS * 10):
        if "loss " in log.read_text():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise RuntimeError(f"the training did not begin: {log.read_text()[-500:]}")
