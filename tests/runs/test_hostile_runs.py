"""Run directories made to harm whoever loads them: refused, in seconds, and nothing else read."""

import hashlib
import json
import os
import pathlib
import pickle
import resource
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tiny

from lstm_gen.platform import errors, safetensors, storage
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs

Attack = Callable[[pathlib.Path, pathlib.Path], object]
SECONDS = 10
MAX_GROWTH_KB = 2 << 20
ROOT = pathlib.Path(__file__).parents[1]
HOMES = tuple(str(pathlib.Path(path).resolve()) for path in (sys.prefix, sys.base_prefix, ROOT))
FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"),
    *("pickle.find_class", "marshal.loads", "ctypes.dlopen"),
)
HUGE = 1 << 40


class Watch:
    """Notes what Python does while it is on; a hook cannot be taken out again, so there is one."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((*HOMES, *self.allowed)):
                self.seen.append(f"open {path}")
        elif event in FORBIDDEN:
            self.seen.append(f"{event} {arguments}")


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a good run, to be spoilt."""
    path = tmp_path / "run"
    run = tiny.make_run(tiny.make_dataset(tmp_path / "dataset"))
    runs.open_or_create(str(path), run)
    runs.save_model(str(path), run.build_model(), 3, {})
    return path


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """End the test where loading hangs."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("not refused in time"))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Payload:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (pathlib.Path("canary"),)


def state_of(run: pathlib.Path) -> pathlib.Path:
    return run / "model" / "step-00000003"


def config(content: str | bytes) -> Attack:
    """Return an attack by the content of `config.json`."""
    data = content.encode() if isinstance(content, str) else content
    return lambda run, _: (run / "config.json").write_bytes(data)


def setting(part: str, **values: Any) -> Attack:
    """Return an attack by values in `config.json`."""

    def attack(run: pathlib.Path, _: pathlib.Path) -> None:
        there = json.loads((run / "config.json").read_text())
        if part:
            there[part] |= values
        else:
            there |= values
        (run / "config.json").write_text(json.dumps(there))

    return attack


def linked(name: str) -> Attack:
    """Return an attack by a link to what may be valid, but is another's."""

    def attack(run: pathlib.Path, outside: pathlib.Path) -> None:
        path = run / name
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)

    return attack


def device(name: str, target: str) -> Attack:
    """Return an attack by a link to an endless file, or any other."""

    def attack(run: pathlib.Path, _: pathlib.Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(target)

    return attack


def replaced(name: str, make: Callable[[pathlib.Path], object]) -> Attack:
    def attack(run: pathlib.Path, _: pathlib.Path) -> None:
        (run / name).unlink()
        make(run / name)

    return attack


def forged(data: Callable[[pathlib.Path], object] | None = None, **changed: Any) -> Attack:
    """Return an attack by a commit whose checksum is right, and perhaps data that it fits."""

    def attack(run: pathlib.Path, _: pathlib.Path) -> None:
        path, arrays = state_of(run) / "commit.json", state_of(run) / "state.safetensors"
        values = json.loads(path.read_text())
        if data:
            data(arrays)
        if data and "sha256" not in changed:
            values["sha256"] = storage.sha256(str(arrays))
        values |= changed
        del values["checksum"]
        text = json.dumps(values, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(values | {"checksum": digest}))

    return attack


def sparse(path: pathlib.Path) -> None:
    """Make a file of as many bytes as a disk has, which takes none."""
    os.truncate(path, HUGE)


def overwritten(content: Callable[[bytes], bytes]) -> Callable[[pathlib.Path], object]:
    return lambda path: path.write_bytes(content(path.read_bytes()))


def same_size(head: bytes) -> Callable[[pathlib.Path], object]:
    """Return a change of the first bytes of a file, and of no other."""
    return overwritten(lambda content: head + content[len(head) :])


def instead(name: str, content: bytes) -> Attack:
    """Return an attack by some other format in place of the state."""

    def attack(run: pathlib.Path, _: pathlib.Path) -> None:
        for path in state_of(run).iterdir():
            path.unlink()
        (state_of(run) / name).write_bytes(content)

    return attack


def zipped(run: pathlib.Path, _: pathlib.Path) -> None:
    """A `.keras` archive with a Lambda where the weights were."""
    replacement = state_of(run) / "state.safetensors"
    layer = {"class_name": "Lambda", "config": {"function": ["4wEAAAA="]}}
    with zipfile.ZipFile(replacement, "w") as archive:
        archive.writestr("config.json", json.dumps(layer))
        archive.writestr("../../escaped", "x")


def piped(run: pathlib.Path, _: pathlib.Path) -> None:
    """A pipe where the folder of states was."""
    (run / "model").rename(run / "other")
    os.mkfifo(run / "model")


def led_out(run: pathlib.Path, outside: pathlib.Path) -> None:
    """A relative link that leaves the run."""
    state_of(run).rename(outside / "step-00000003")
    state_of(run).symlink_to("../../outside/step-00000003")


LAYER = {"class_name": "TFSMLayer", "config": {"filepath": "/tmp/evil"}}
CONFIG, COMMIT, ARRAYS = (
    "config.json",
    "model/step-00000003/commit.json",
    "model/step-00000003/state.safetensors",
)
ATTACKS: dict[str, Attack] = {
    "config: a link": linked(CONFIG),
    "config: a link to a secret": device(CONFIG, "/etc/passwd"),
    "config: endless": device(CONFIG, "/dev/zero"),
    "config: a pipe": replaced(CONFIG, os.mkfifo),
    "config: a directory": replaced(CONFIG, pathlib.Path.mkdir),
    "config: huge": lambda run, _: os.truncate(run / CONFIG, HUGE),
    "config: 5 MB of spaces": config(b" " * (5 << 20)),
    "config: deep": config("[" * 1_000_000),
    "config: deep objects": config('{"a":' * 100_000),
    "config: a pickle": config(pickle.dumps(Payload())),
    "config: not UTF-8": config(b"\xff\xfe{\x00}\x00"),
    "config: NUL": config(b"\0" * 100),
    "config: a number of many digits": config('{"schema_version": ' + "9" * 100_000 + "}"),
    "config: a model of Keras": config(json.dumps(LAYER)),
    "config: another model": setting("", model="os.system"),
    "config: a path for a model": setting("", model="../../evil"),
    "config: no name for a model": setting("", model={"class_name": "Lambda"}),
    "config: a class": setting("settings", class_name="Lambda"),
    "config: code for a number": setting("settings", units="__import__('os').system('true')"),
    "config: 10^6 units": setting("settings", units=10**6),
    "config: 10^30 units": setting("settings", units=10**30),
    "config: 10^9 layers": setting("settings", layers=10**9),
    "config: 10^9 components": setting("settings", components=10**9),
    "config: infinite noise": setting("settings", sigma_floor=float("inf")),
    "config: no number": setting("settings", sigma_floor=float("nan")),
    "config: 10^5 means": setting("dataset", mean=[0.0] * 100_000),
    "config: deep means": setting("dataset", mean=[[[[[0.0] * 8]]]]),
    "config: no deviation": setting("dataset", std=[0.0] * 8),
    "config: means of text": setting("dataset", mean=["x" * 100] * 8),
    "config: null for a dataset": setting("", dataset=None),
    "config: audio of nothing": setting("dataset", audio={}),
    "config: windows of 2^70": setting("window", timesteps=-(2**70)),
    "model: a link": linked("model"),
    "model: a pipe for a folder": piped,
    "state: a link": linked("model/step-00000003"),
    "state: up and out": led_out,
    "state: a TensorFlow checkpoint": instead("checkpoint", b'model_checkpoint_path: "../../x"'),
    "state: a SavedModel": instead("saved_model.pb", b"\x08\x01\x12\x02"),
    "state: HDF5": instead("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "state: a pickle": instead("commit.json", pickle.dumps(Payload())),
    "commit: a link": linked(COMMIT),
    "commit: endless": device(COMMIT, "/dev/zero"),
    "commit: a pipe": replaced(COMMIT, os.mkfifo),
    "commit: a directory": replaced(COMMIT, pathlib.Path.mkdir),
    "commit: huge": lambda run, _: os.truncate(run / COMMIT, HUGE),
    "commit: deep": replaced(COMMIT, lambda path: path.write_text("[" * 1_000_000)),
    "commit: a huge shape": forged(variables={"a": ["float32", [HUGE]]}),
    "commit: a huge shape and file": forged(
        sparse, variables={"a": ["int8", [HUGE - 72]]}, sha256=""
    ),
    "commit: a shape beyond any": forged(variables={"a": ["float32", [10**30, 10**30]]}),
    "commit: a negative shape": forged(variables={"a": ["float32", [-8]]}),
    "commit: a broken shape": forged(variables={"a": ["float32", [1.5]]}),
    "commit: objects": forged(variables={"a": ["object", [1]]}),
    "commit: records": forged(variables={"a": ["V8,O", [1]]}),
    "commit: text": forged(variables={"a": ["str", [1]]}),
    "commit: a path for a name": forged(variables={"../../escaped": ["float32", [1]]}),
    "commit: NUL in a name": forged(variables={"a\0b": ["float32", [1]]}),
    "commit: 10^5 variables": forged(variables={f"v{i}": ["float32", [1]] for i in range(10**5)}),
    "commit: no variables": forged(variables={}),
    "commit: another step": forged(step=-3),
    "commit: a step of text": forged(step="../../3"),
    "commit: facts of a list": forged(facts=[1, 2]),
    "arrays: a link": linked(ARRAYS),
    "arrays: endless": device(ARRAYS, "/dev/zero"),
    "arrays: a pipe": replaced(ARRAYS, os.mkfifo),
    "arrays: huge": lambda run, _: os.truncate(run / ARRAYS, HUGE),
    "arrays: an archive of Keras": zipped,
    "arrays: a pickle that fits": forged(same_size(pickle.dumps(Payload()))),
    "arrays: a header of 2^63": forged(same_size(b"\xff" * 8)),
    "arrays: a header of objects": forged(
        overwritten(lambda content: content.replace(b'"F32"', b'"O32"'))
    ),
    "arrays: values that are no numbers": forged(
        overwritten(lambda content: content[:-400] + b"\xff" * 400)
    ),
}


def test_there_are_as_many_attacks_as_were_asked_for() -> None:
    assert len(ATTACKS) >= 60


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_hostile_run_is_refused(
    run_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    watch: Watch,
    attack: Attack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    attack(run_dir, outside)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch.seen, watch.allowed = [], (str(run_dir), "/proc/", "/sys/")
    try:
        with pytest.raises(errors.InputError) as refused:
            runs.load(str(run_dir)).load_model()
    finally:
        watch.allowed = None
    assert watch.seen == []
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000
    assert "root:" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kilobytes < MAX_GROWTH_KB
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_watch_sees(tmp_path: pathlib.Path, watch: Watch) -> None:
    watch.seen, watch.allowed = [], ()
    (tmp_path / "seen").write_text("x")
    pickle.loads(pickle.dumps(Payload))
    watch.allowed = None
    assert watch.seen[0] == f"open {tmp_path}/seen"
    assert any(each.startswith("pickle.find_class") for each in watch.seen)


def test_a_good_run_is_loaded(run_dir: pathlib.Path, watch: Watch) -> None:
    watch.seen, watch.allowed = [], (str(run_dir), "/proc/", "/sys/")
    model = runs.load(str(run_dir)).load_model()
    watch.allowed = None
    assert watch.seen == []
    state = checkpoints.newest(runs.model_dir(str(run_dir)))
    assert state is not None
    for name, values in safetensors.read(str(state_of(run_dir) / "state.safetensors"), state.specs):
        weight = next(w for w in model.weights if name == f"model/{w.path.split('/', 1)[1]}")
        np.testing.assert_array_equal(weight, values)
