import dataclasses
import json
import pathlib
import random
from typing import Any

import numpy as np
import pytest
import tiny

from lstm_gen.audio import fitted, start_spectrum
from lstm_gen.models import base
from lstm_gen.models.lstm import model as lstm
from lstm_gen.platform import errors, storage
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return tiny.make_run(tiny.make_dataset(tmp_path_factory.mktemp("dataset")))


@pytest.fixture
def run_dir(tmp_path: pathlib.Path, run: runs.Run) -> str:
    path = str(tmp_path / "run")
    assert not runs.open_or_create(path, run)
    return path


def check_equal(one: runs.Run, other: runs.Run) -> None:
    for field in dataclasses.fields(runs.Run):
        if not field.compare:  # the directory
            continue
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name == "normalisation":
            np.testing.assert_array_equal(first.mean, second.mean)
            np.testing.assert_array_equal(first.std, second.std)
            assert first.mean.dtype == second.mean.dtype == np.float32
        else:
            assert first == second


def test_a_run_comes_back_as_it_was_written(run_dir: str, run: runs.Run) -> None:
    check_equal(runs.load(run_dir), run)
    text = pathlib.Path(run_dir, "config.json").read_text()
    assert text.endswith("}\n")
    values = json.loads(text)
    assert values["schema_version"] == runs.SCHEMA_VERSION
    assert values["model"] == "lstm"
    assert set(values) == {
        *("schema_version", "model", "settings", "window", "training", "augmentation"),
        *("condition", "dataset"),
    }


def test_an_untrained_model_is_the_same_each_time(run: runs.Run) -> None:
    first = run.build_model()
    random.random()  # as an upload does for its boundary
    for ours, other in zip(first.weights, run.build_model().weights, strict=True):
        np.testing.assert_array_equal(ours, other)


def test_the_same_run_opens_and_nothing_is_written(run_dir: str, run: runs.Run) -> None:
    path = pathlib.Path(run_dir, "config.json")
    before = path.stat()
    assert runs.open_or_create(run_dir, run)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_steps_may_change_and_a_dataset_may_move(run_dir: str, run: runs.Run) -> None:
    longer = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=99))
    assert runs.open_or_create(run_dir, longer)
    check_equal(runs.load(run_dir), longer)
    moved = dataclasses.replace(longer, data_dir="/elsewhere")
    assert runs.open_or_create(run_dir, moved)
    check_equal(runs.load(run_dir), moved)


@pytest.mark.parametrize(
    ("part", "changed", "named"),
    [
        ("settings", {"units": 16}, r"settings.units=16, in run_dir: 8"),
        ("settings", {"head": "mse"}, r"settings.head='mse', in run_dir: 'mixture'"),
        ("window", {"timesteps": 9}, r"window.timesteps=9, in run_dir: 8"),
        ("window", {"shift": 2}, r"window.shift=2, in run_dir: 1"),
        ("training", {"learning_rate": 0.5}, r"training.learning_rate=0.5, in run_dir: 0.01"),
        ("training", {"seed": 1}, r"training.seed=1, in run_dir: 0"),
        ("augmentation", {"gain_db": 6.0}, r"augmentation.gain_db=6.0, in run_dir: 0.0"),
        ("audio", {"hop_length": 64}, r"dataset of run_dir has changed.*dataset.audio.hop_length"),
    ],
)
def test_another_run_is_refused_naming_the_field(
    run_dir: str, run: runs.Run, part: str, changed: dict[str, Any], named: str
) -> None:
    begin(run_dir)
    other: Any = {part: dataclasses.replace(getattr(run, part), **changed)}
    with pytest.raises(errors.InputError, match=named):
        runs.open_or_create(run_dir, dataclasses.replace(run, **other))
    check_equal(runs.load(run_dir), run)


def begin(run_dir: str) -> None:
    """Leave what training leaves first: a checkpoint, of which only the name counts here."""
    pathlib.Path(runs.checkpoints_dir(run_dir), "step-00000001").mkdir(parents=True)


def test_a_run_that_never_began_may_begin_otherwise(run_dir: str, run: runs.Run) -> None:
    other = dataclasses.replace(run, settings=dataclasses.replace(tiny.SETTINGS, units=16))
    assert runs.open_or_create(run_dir, other)
    check_equal(runs.load(run_dir), other)


def test_another_dataset_is_refused(run_dir: str, run: runs.Run) -> None:
    begin(run_dir)
    changed = dataclasses.replace(run, fingerprint="0" * 64)
    with pytest.raises(
        errors.InputError, match=r"has changed since.*differs in dataset.fingerprin"
    ):
        runs.open_or_create(run_dir, changed)


def test_a_start_that_was_killed_before_the_settings_were_written_is_repeated(
    tmp_path: pathlib.Path, run: runs.Run
) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    for name in ("fitted.safetensors", "fitted.safetensors.tmp-1", "config.json.tmp-12"):
        (folder / name).write_text("half")
    assert not runs.open_or_create(str(folder), run)
    assert runs.as_dict(runs.load(str(folder))) == runs.as_dict(run)


def test_a_directory_of_something_else_is_refused(tmp_path: pathlib.Path, run: runs.Run) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(errors.InputError, match=r"holds files but no config.json.*run_dir="):
        runs.open_or_create(str(tmp_path), run)
    with pytest.raises(FileExistsError):
        runs.open_or_create(str(tmp_path / "thesis.txt"), run)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_is_no_run_is_not_loaded(tmp_path: pathlib.Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            errors.InputError, match=r"that train_model.py has written; .* no config.json"
        ):
            runs.load(str(path))


def edited(**changed: Any) -> Any:
    """Return a change of `config.json`; a dictionary changes what is inside a part."""

    def edit(values: dict[str, Any]) -> Any:
        for name, value in changed.items():
            values[name] = values[name] | value if isinstance(value, dict) else value
        return values

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda _: [], "is damaged"),
        (lambda _: None, "is damaged"),
        (lambda _: {"schema_version": 4}, "is damaged.*KeyError"),
        (edited(schema_version=3), "schema version 4.*Received: schema_version=3"),
        (edited(schema_version=None), "schema version 4"),
        (edited(model="transformer"), "model must be one of lstm"),
        (edited(settings={"units": "8"}), "settings: units must be int"),
        (edited(settings={"depth": 3}), "does not have the fields of LSTMConfig"),
        (edited(settings={"units": 0}), "units must be at least 1"),
        (edited(window={"timesteps": 1}), "timesteps must be"),
        (edited(training={"steps": 0.5}), "training: steps must be int"),
        (edited(dataset=3), "is damaged"),
        (edited(dataset={"audio": {"hop": 1}}), "does not have the fields of AudioConfig"),
        (edited(dataset={"mean": ["loud"] * 8}), "is damaged"),
        (edited(dataset={"mean": [0.0]}), "a finite mean and a positive std per channel"),
        (edited(dataset={"std": [0.0] * 8}), "a finite mean and a positive std"),
        (edited(dataset={"mean": [1e999] * 8}), "a finite mean and a positive std"),
    ],
)
def test_a_damaged_configuration_is_one_line(run_dir: str, edit: Any, message: str) -> None:
    path = pathlib.Path(run_dir, "config.json")
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(errors.InputError, match=message) as caught:
        runs.load(run_dir)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_configuration_that_is_no_json_is_one_line(run_dir: str, content: bytes) -> None:
    path = pathlib.Path(run_dir, "config.json")
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match=r"config.json is damaged; restore it"):
        runs.load(run_dir)


def test_weights_come_back(run_dir: str, run: runs.Run) -> None:
    with pytest.raises(errors.InputError, match="run_dir must hold trained weights"):
        runs.load(run_dir).load_model()
    model = run.build_model()
    for step in (3, 5):
        runs.save_model(run_dir, model, step, {"loss": 0.5})
    state = checkpoints.newest(runs.model_dir(run_dir))
    assert state is not None
    assert (state.step, state.facts) == (5, {"loss": 0.5})
    assert len(list(pathlib.Path(runs.model_dir(run_dir)).iterdir())) == 1
    loaded = runs.load(run_dir).load_model()
    assert len(loaded.weights) == len(model.weights) > 0
    for weight, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def test_facts_are_read_without_the_weights(
    run_dir: str, run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.facts() == {}
    loaded = runs.load(run_dir)
    assert (loaded.weights(), loaded.facts()) == (None, {})
    runs.save_model(run_dir, run.build_model(), 3, {"sampling": {"temperature": 0.5}})
    for name in ("sha256", "local_copy"):
        monkeypatch.delattr(storage, name)
    assert loaded.facts() == {"sampling": {"temperature": 0.5}}
    assert loaded.sampling() == base.Sampling(temperature=0.5)


@pytest.mark.parametrize("changed", [{"layers": 2}, {"head": "mse"}, {"units": 4}])
def test_weights_of_another_model_are_refused(
    run_dir: str, run: runs.Run, changed: dict[str, Any]
) -> None:
    larger = dataclasses.replace(run, settings=dataclasses.replace(tiny.SETTINGS, layers=2))
    model = (run if "layers" in changed else larger).build_model()
    runs.save_model(run_dir, model, 1, {})
    other = dataclasses.replace(run, settings=dataclasses.replace(tiny.SETTINGS, **changed))
    with pytest.raises(errors.InputError, match="are not this model's"):
        dataclasses.replace(other, directory=run_dir).load_model()


def test_the_signal_is_that_of_the_dataset_and_the_window(run: runs.Run) -> None:
    spec = run.spec
    assert (spec.channels, spec.timesteps, spec.shift) == (8, 8, 1)
    assert isinstance(run.build_model(), lstm.LSTMModel)


def test_paths_are_made_absolute(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs.absolute("data") == str(tmp_path / "data")
    assert runs.absolute("gs://bucket/data") == "gs://bucket/data"


@pytest.fixture(scope="module")
def fitted_run(run: runs.Run) -> runs.Run:
    """Return a run of a dataset whose analysis has arrays."""
    spectra = np.random.default_rng(0).uniform(0.1, 1, (50, 1 + run.audio.n_fft // 2))
    arrays = fitted.fit([spectra.astype(np.float32)], run.audio)
    return dataclasses.replace(run, audio=fitted.attach(run.audio, arrays))


def test_a_run_keeps_the_arrays_of_its_analysis(
    tmp_path: pathlib.Path, run: runs.Run, fitted_run: runs.Run
) -> None:
    path = str(tmp_path / "run")
    assert not runs.open_or_create(path, fitted_run)
    loaded = runs.load(path)
    check_equal(loaded, fitted_run)
    assert loaded.audio.fitted is not None
    assert fitted_run.audio.fitted is not None
    name = start_spectrum.NAME
    np.testing.assert_array_equal(
        loaded.audio.fitted.arrays[name], fitted_run.audio.fitted.arrays[name]
    )
    assert runs.open_or_create(path, fitted_run)
    # What a checkpoint keeps of a run names the arrays.
    values = runs.as_dict(loaded)
    assert runs.as_current(values, path) == values
    with pytest.raises(errors.InputError, match=r"differs in dataset\.fitted\.bytes"):
        runs.require_same(values, runs.as_dict(run), path)
    assert fitted.FILE in " ".join(runs.clear(path))
    assert not list((tmp_path / "run").glob("fitted*"))


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_arrays_of_a_run_are_one_clear_line(
    tmp_path: pathlib.Path, fitted_run: runs.Run, damage: str
) -> None:
    path = str(tmp_path / "run")
    runs.open_or_create(path, fitted_run)
    file = tmp_path / "run" / fitted.FILE
    if damage == "missing":
        file.unlink()
    else:
        tiny.flip_byte(file)
    with pytest.raises(errors.InputError, match=r"fitted\.safetensors .*train again") as refused:
        runs.load(path)
    assert "\n" not in str(refused.value)
