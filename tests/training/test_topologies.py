"""One step's batch, loss and noise, whatever devices share them: in processes of their own."""

import json
import os
import pathlib
import re
import signal
import socket
import time
from typing import Any

import numpy as np
import processes
import pytest
import tiny

from lstm_gen.runs import run

ROOT = pathlib.Path(__file__).parents[2]
Results = dict[str, dict[str, Any]]


def start(folder: pathlib.Path, name: str, *arguments: Any, **variables: str) -> processes.Fork:
    """Start a script in a process; what it prints and logs is in files named after it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.log").open("wb") as log:
        environment = {"PYTHONPATH": paths} | variables
        return processes.Fork(*map(str, arguments), env=environment, stdout=out, stderr=log)


def start_two(folder: pathlib.Path, name: str, *arguments: Any) -> list[processes.Fork]:
    """Start two processes that work together, in the form that Vertex AI describes them."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    chief, worker = (f"localhost:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    described = {"cluster": {"chief": [chief], "worker": [worker]}, "environment": "cloud"}
    return [
        start(
            folder,
            f"{name}-{kind}",
            *(str(argument).replace("NAME", kind) for argument in arguments),
            TF_CONFIG=json.dumps(described | {"task": {"type": kind, "index": 0}}),
        )
        for kind in ("chief", "worker")
    ]


def finish(folder: pathlib.Path, started: list[processes.Fork]) -> None:
    try:
        assert [process.wait(timeout=300) for process in started] == [0] * len(started), "\n".join(
            path.read_text()[-2000:] for path in folder.glob("*.log")
        )
    finally:
        for process in started:
            process.kill()


def load(path: pathlib.Path) -> Results:
    """Return what a process saved: the name of each training to its values."""
    found: Results = {}
    with np.load(path) as values:
        for key in values:
            name, _, what = key.partition(": ")
            found.setdefault(name, {})[what] = values[key]
    return found


def join(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what two processes read together, after a look at what both must know."""
    for key in ("loss", "weights", "average"):
        np.testing.assert_array_equal(results[0][key], results[1][key])
    rows = {k: [one[k] for one in results] for k in ("row", "recording", "start_frame")}
    return results[0] | {k: np.concatenate(v, axis=1) for k, v in rows.items()}


def train_everywhere(folder: pathlib.Path, n_steps: int, *devices: list[int]) -> Results:
    """Train in a process for each list of devices, and in two that work together."""
    tiny.make_dataset(folder / "dataset")
    script = pathlib.Path(__file__).with_name("topology.py"), folder / "dataset"
    started = start_two(folder, "pair", *script, folder / "NAME.npz", n_steps, 1)
    for place, counts in enumerate(devices):
        result = folder / f"{place}.npz"
        started.append(start(folder, f"alone-{place}", *script, result, n_steps, *counts))
    finish(folder, started)
    parts = [load(folder / f"{kind}.npz") for kind in ("chief", "worker")]
    found = {"2 processes": join([value for part in parts for value in part.values()])}
    for place in range(len(devices)):
        found |= load(folder / f"{place}.npz")
    return found


def check_alike(found: Results, n_steps: int) -> None:
    """Check record ids exactly and losses to 1e-5 against those of one device."""
    one = found["1 devices"]
    assert len(np.unique(one["loss"])) == n_steps
    for name, values in found.items():
        np.testing.assert_array_equal(values["row"], [range(8)] * n_steps, err_msg=name)
        for key in ("recording", "start_frame"):
            np.testing.assert_array_equal(values[key], one[key], err_msg=name)
        np.testing.assert_allclose(values["loss"], one["loss"], rtol=1e-5, err_msg=name)


def test_any_devices_train_on_the_same_batches_to_the_same_loss(tmp_path: pathlib.Path) -> None:
    found = train_everywhere(tmp_path, 8, [1, 4])
    assert sorted(found) == ["1 devices", "2 processes", "4 devices"]
    check_alike(found, 8)
    assert found["2 processes"]["average"] == 0.5


@pytest.mark.faults
def test_any_devices_agree_for_long_and_repeat_their_bits(tmp_path: pathlib.Path) -> None:
    tries = [tmp_path / name for name in ("first", "second")]
    first, second = (train_everywhere(folder, 100, [1, 2], [4]) for folder in tries)
    assert sorted(first) == ["1 devices", "2 devices", "2 processes", "4 devices"]
    check_alike(first, 100)
    for name, values in first.items():
        for key, value in values.items():
            np.testing.assert_array_equal(value, second[name][key], err_msg=f"{name}: {key}")


@pytest.mark.faults
def test_two_processes_run_the_command_and_the_chief_writes(tmp_path: pathlib.Path) -> None:
    tiny.make_dataset(tmp_path / "dataset")
    settings = "--timesteps=8 --layers=2 --units=8 --components=3 --batch_size=4 --warmup_steps=1"
    looks = "--validate_every_steps=2 --checkpoint_every_steps=4 --sample_every_steps=0"
    command = [ROOT / "train_model.py", f"--data_dir={tmp_path / 'dataset'}", "--nobest_weights"]
    command += [*settings.split(), *looks.split(), "--device=cpu"]
    one, two = tmp_path / "one", tmp_path / "two"
    finish(tmp_path, [start(tmp_path, "one", *command, "--steps=6", f"--run_dir={one}")])
    finish(tmp_path, start_two(tmp_path, "two", *command, "--steps=6", f"--run_dir={two}"))
    assert (tmp_path / "two-worker.out").read_text() == ""
    assert "steps     6 of 6" in (tmp_path / "two-chief.out").read_text()
    names = [{path.relative_to(d).parts[0] for path in d.rglob("*")} for d in (one, two)]
    assert names[0] == names[1]
    models = [run.load(str(path)).load_model() for path in (one, two)]
    for expected, found in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=found.path)
    finish(tmp_path, start_two(tmp_path, "more", *command, "--steps=8", f"--run_dir={two}"))
    assert "resuming after step 6" in (tmp_path / "more-chief.out").read_text()


@pytest.mark.faults
def test_a_signal_to_one_process_stops_both_after_a_checkpoint(tmp_path: pathlib.Path) -> None:
    tiny.make_dataset(tmp_path / "dataset")
    command = [ROOT / "train_model.py", f"--data_dir={tmp_path / 'dataset'}", "--device=cpu"]
    command += ["--timesteps=8", "--layers=1", "--units=8", "--batch_size=4", "--steps=100000"]
    command += ["--sample_every_steps=0", "--nobaselines", f"--run_dir={tmp_path / 'run'}"]
    pair = start_two(tmp_path, "stopped", *command)
    try:
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "run").glob("checkpoints/*/commit.json"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        pair[1].send_signal(signal.SIGTERM)
        assert [process.wait(timeout=60) for process in pair] == [128 + signal.SIGTERM] * 2
    finally:
        for process in pair:
            process.kill()
    said = (tmp_path / "stopped-chief.log").read_text()
    (step,) = re.findall(r"stopped by SIGTERM; step (\d+) is saved", said)
    assert (tmp_path / "run" / "checkpoints" / f"step-{int(step):08d}" / "commit.json").exists()
