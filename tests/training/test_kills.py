"""A run that is killed again and again ends as one that is not, to the bit."""

import itertools
import json
import os
import pathlib
import random
import signal

import numpy as np
import processes
import pytest
import tiny
import trainee

from lstm_gen.platform import failpoints, safetensors
from lstm_gen.runs import checkpoints, run

ROOT = pathlib.Path(__file__).parents[2]
STOP = "stop"
Line = tuple[str, str]


class Trainees:
    """The trainings of a run and of its double, each start of them in a process of its own."""

    def __init__(self, folder: pathlib.Path, steps: int) -> None:
        self._folder, self._steps = folder, steps

    def start(self, name: str, failpoint: str = "", stop_before_call: int = 0) -> int:
        """Train, or go on, to the end or the interruption; return the exit status."""
        order = trainee.Order(
            data_dir=str(self._folder / "dataset"),
            run_dir=str(self._folder / name),
            steps=self._steps,
            log=str(self._folder / f"{name}.jsonl"),
            stop_before_call=stop_before_call,
        )
        done = processes.run_python(
            *(trainee.__file__, json.dumps(order._asdict())),
            env={
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
                "LSTM_GEN_FAILPOINT": failpoint,
            },
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode


def read_log(folder: pathlib.Path, name: str, steps: int) -> dict[int, Line]:
    """Return loss and windows of each step; a step done twice must have been the same twice."""
    lines: dict[int, Line] = {}
    for text in (folder / f"{name}.jsonl").read_text().splitlines():
        step, loss, windows = json.loads(text)
        assert lines.setdefault(step, (loss, windows)) == (loss, windows), f"step {step} differs"
    assert sorted(lines) == list(range(1, steps + 1))
    return lines


def read_values(parent: str) -> dict[str, np.ndarray]:
    state = checkpoints.newest(parent)
    assert state is not None
    return dict(safetensors.read(f"{state.path}/state.safetensors", state.specs))


def check_same(folder: pathlib.Path, steps: int) -> None:
    """Check that the killed run is the whole one: losses, windows, weights, optimizer, averages."""
    assert read_log(folder, "killed", steps) == read_log(folder, "whole", steps)
    for part in (run.checkpoints_dir, run.model_dir):
        whole, killed = (read_values(part(str(folder / name))) for name in ("whole", "killed"))
        assert whole.keys() == killed.keys()
        for name, values in whole.items():
            np.testing.assert_array_equal(killed[name], values, err_msg=name)


def interrupt(trainees: Trainees, folder: pathlib.Path, kills: int, stops: int, seed: int) -> None:
    """Train with that many SIGKILLs and SIGTERMs, in a drawn order at drawn places."""
    draw = random.Random(seed)
    # The weights are saved where a validation was the best, which only the first is for sure.
    points = itertools.cycle(
        point for point in failpoints.TRAINING_POINTS if point != "model.saved"
    )
    todo = [*itertools.islice(points, kills - 1), *[STOP] * stops]
    draw.shuffle(todo)
    for number, where in enumerate(["model.saved", *todo]):
        if where == STOP:
            status = trainees.start("killed", stop_before_call=draw.randrange(1, 5))
            assert status == 128 + signal.SIGTERM
            continue
        mark = folder / f"fired-{number}"
        count = 1 if where == "model.saved" else draw.randrange(1, 3)
        assert trainees.start("killed", failpoint=f"{where}:{count}:{mark}") == -signal.SIGKILL
        assert mark.exists(), f"{where} was not reached"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "kills", "stops", "seed"),
    [(50, 3, 2, 1), pytest.param(500, 30, 20, 2, marks=pytest.mark.faults)],
)
def test_a_killed_run_is_the_whole_one_to_the_bit(
    tmp_path: pathlib.Path, steps: int, kills: int, stops: int, seed: int
) -> None:
    tiny.make_dataset(tmp_path / "dataset")
    trainees = Trainees(tmp_path, steps)
    assert trainees.start("whole") == 0
    interrupt(trainees, tmp_path, kills, stops, seed)
    assert trainees.start("killed") == 0
    check_same(tmp_path, steps)
    states = pathlib.Path(run.checkpoints_dir(str(tmp_path / "killed")))
    assert len(list(states.iterdir())) == 2, "litter of killed writers is left"
