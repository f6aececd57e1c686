import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen.platform import errors, safetensors, storage
from lstm_gen.runs import checkpoints

Damage = Callable[[pathlib.Path], Any]
DATA = "state.safetensors"


def variables(*values: float) -> dict[str, tf.Variable]:
    return {
        f"v{index}": tf.Variable([value], dtype=tf.float32) for index, value in enumerate(values)
    }


def read(state: checkpoints.State | None, n_values: int = 2) -> list[float]:
    """Return the values in a state."""
    assert state is not None
    filled = variables(*[-1.0] * n_values)
    checkpoints.read(state, filled)
    return [float(variable.numpy()[0]) for variable in filled.values()]


@pytest.fixture
def states(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a directory with the states of steps 1 and 2."""
    for step in (1, 2):
        checkpoints.write(str(tmp_path), step, variables(step, 10 * step), {"note": f"at {step}"})
    return tmp_path


def rewrite_commit(**changed: Any) -> Damage:
    """Return a damage that changes fields of the commit, and does not make it fit again."""

    def damage(state: pathlib.Path) -> None:
        commit = json.loads((state / "commit.json").read_text())
        (state / "commit.json").write_text(json.dumps(commit | changed))

    return damage


def replace(name: str, make: Damage) -> Damage:
    """Return a damage that puts something else in a file's place."""

    def damage(state: pathlib.Path) -> None:
        (state / name).unlink()
        make(state / name)

    return damage


def link_to_copy(path: pathlib.Path) -> None:
    """Leave a link to the very content that was there."""
    other = path.parent.parent / "step-00000001" / path.name
    path.symlink_to(other)


DAMAGES: dict[str, Damage] = {
    "a flipped byte of data": lambda state: tiny.flip_byte(state / DATA),
    "a flipped byte of commit": lambda state: tiny.flip_byte(state / "commit.json"),
    "data cut short": lambda state: (state / DATA).write_bytes((state / DATA).read_bytes()[:-1]),
    "data too long": lambda state: (state / DATA).write_bytes((state / DATA).read_bytes() + b"0"),
    "data gone": lambda state: (state / DATA).unlink(),
    "data a directory": replace(DATA, pathlib.Path.mkdir),
    "data a link": replace(DATA, link_to_copy),
    "data a pipe": replace(DATA, os.mkfifo),
    "commit gone": lambda state: (state / "commit.json").unlink(),
    "commit a link": replace("commit.json", link_to_copy),
    "commit a pipe": replace("commit.json", os.mkfifo),
    "commit empty": lambda state: (state / "commit.json").write_bytes(b""),
    "commit not text": lambda state: (state / "commit.json").write_bytes(b"\xff\xfe{}"),
    "commit not JSON": lambda state: (state / "commit.json").write_text('{"step": 2, "fil'),
    "commit too deep": lambda state: (state / "commit.json").write_text("[" * 100_000),
    "commit not an object": lambda state: (state / "commit.json").write_text("[1, 2]"),
    "commit null": lambda state: (state / "commit.json").write_text("null"),
    "commit without fields": lambda state: (state / "commit.json").write_text("{}"),
    "commit has no variables": rewrite_commit(variables={}),
    "commit has a list of variables": rewrite_commit(variables=["v0"]),
    "commit has another hash": rewrite_commit(sha256="0" * 64),
    "commit has another step": rewrite_commit(step=3),
    "commit has no step": rewrite_commit(step=None),
    "commit has other facts": rewrite_commit(facts={}),
}


def test_a_state_comes_back_as_it_was_written(states: pathlib.Path) -> None:
    state = checkpoints.newest(str(states))
    assert state is not None
    assert state[:3] == (str(states / "step-00000002"), 2, {"note": "at 2"})
    assert state.specs == {name: safetensors.Spec("float32", (1,)) for name in ("v0", "v1")}
    assert read(state) == [2, 20]
    assert sorted(path.name for path in (states / "step-00000002").iterdir()) == [
        "commit.json",
        DATA,
    ]


def test_there_is_no_state_where_there_is_none(tmp_path: pathlib.Path) -> None:
    assert checkpoints.newest(str(tmp_path)) is None
    assert checkpoints.newest(str(tmp_path / "missing")) is None
    (tmp_path / "step-00000001.tmp-0123abcd").mkdir()
    (tmp_path / "notes.txt").touch()
    assert checkpoints.newest(str(tmp_path)) is None


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_passed_over_with_a_warning(
    states: pathlib.Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    damage(states / "step-00000002")
    state = checkpoints.newest(str(states))
    assert read(state) == [1, 10]
    assert "step-00000002 is damaged or incomplete" in caplog.text
    damage(states / "step-00000001")
    with pytest.raises(
        errors.InputError, match=r"none of the states in .* is intact.*00001, step-"
    ):
        checkpoints.newest(str(states))


def test_writing_a_step_again_replaces_it(states: pathlib.Path) -> None:
    checkpoints.write(str(states), 2, variables(5, 6), {})
    state = checkpoints.newest(str(states))
    assert read(state) == [5, 6]
    assert state is not None
    assert state.facts == {}
    assert len(list(states.iterdir())) == 2


def test_a_write_that_dies_leaves_the_older_state(
    states: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_text", die)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write(str(states), 3, variables(3, 30), {})
    assert read(checkpoints.newest(str(states))) == [2, 20]
    monkeypatch.undo()
    assert len(list(states.iterdir())) == 3  # with the litter of the write
    state = checkpoints.write(str(states), 4, variables(4, 40), {})
    checkpoints.keep_newest(str(states), 2, state)
    assert [path.name for path in sorted(states.iterdir())] == ["step-00000002", "step-00000004"]


def test_only_our_states_and_litter_are_deleted(states: pathlib.Path) -> None:
    (states / "step-00000001.tmp-0123abcd").mkdir()
    (states / "mine.tmp-1").touch()
    (states / "step-1").mkdir()
    state = checkpoints.newest(str(states))
    assert state is not None
    checkpoints.keep_newest(str(states), 1, state)
    assert sorted(path.name for path in states.iterdir()) == [
        "mine.tmp-1",
        "step-00000002",
        "step-1",
    ]


def test_a_damaged_newer_state_does_not_push_out_the_one_just_written(
    states: pathlib.Path,
) -> None:
    shutil.copytree(states / "step-00000001", states / "step-00000009")
    tiny.flip_byte(states / "step-00000009" / DATA)
    state = checkpoints.write(str(states), 3, variables(3, 30), {})
    checkpoints.keep_newest(str(states), 1, state)
    assert [path.name for path in states.iterdir()] == ["step-00000003"]
    assert read(checkpoints.newest(str(states))) == [3, 30]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"v0": [0.0]}, r"v1 differs; .*stored='float32 \[1\]', expected='nothing'$"),
        ({"v0": [0.0], "v1": [0.0], "v2": [0.0]}, r"v2 differs; .*stored='nothing', expected="),
        ({"v0": [0.0], "other": [0.0]}, r"other differs; "),
        (
            {"v0": [0.0], "v1": [0.0, 0.0]},
            r"v1 differs; .*stored='float32 \[1\]', expected=.*\[2\]'",
        ),
        ({"v0": [0.0], "v1": [0]}, r"v1 differs; .*expected='int32 \[1\]'"),
    ],
    ids=["fewer", "more", "other names", "another shape", "another type"],
)
def test_variables_of_another_model_are_refused(
    states: pathlib.Path, other: dict[str, list[float]], message: str
) -> None:
    state = checkpoints.newest(str(states))
    assert state is not None
    asked = {name: tf.Variable(value) for name, value in other.items()}
    with pytest.raises(errors.InputError, match=f"are not this model's: {message}"):
        checkpoints.read(state, asked)
    with pytest.raises(errors.InputError, match=f"are not this model's: {message}"):
        checkpoints.newest(str(states), checkpoints.specs_of(asked))


def test_states_behind_a_link_are_refused(states: pathlib.Path, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(states)
    with pytest.raises(errors.InputError, match="must lie within it"):
        checkpoints.newest(str(link))
    (states / "step-00000003").symlink_to(states / "step-00000002")
    assert read(checkpoints.newest(str(states))) == [2, 20]


class Nested(keras.Model):
    """A model that holds its layers in every way there is."""

    def __init__(self, units: int = 2) -> None:
        super().__init__(name="nested")
        self.alone = keras.layers.Dense(units, name="alone")
        self.listed = [keras.layers.Dense(units, name=f"listed_{i}") for i in range(2)]
        self.named = {"a": [keras.layers.Dense(units, name="deep")]}

    def build(self, input_shape: Any) -> None:
        for layer in (self.alone, *self.listed, *self.named["a"]):
            layer.build(input_shape)


def test_every_variable_of_a_model_and_its_optimizer_is_there() -> None:
    model = Nested()
    model.build((None, 2))
    optimizers = [keras.optimizers.Adam(), keras.optimizers.Adam()]  # the second is "adam_1"
    for optimizer in optimizers:
        optimizer.build([weight.value for weight in model.trainable_variables])
    named = checkpoints.variables_of(model=model, first=optimizers[0], second=optimizers[1])
    assert len(named) == sum(len(owner.variables) for owner in (model, *optimizers))
    assert {name for name in named if name.startswith("model/")} == {
        f"model/{layer}/{weight}"
        for layer in ("alone", "listed_0", "listed_1", "deep")
        for weight in ("kernel", "bias")
    }
    first, second = (
        {name.removeprefix(owner) for name in named if name.startswith(owner)}
        for owner in ("first", "second")
    )
    assert first == second


def test_two_variables_of_one_name_are_a_defect() -> None:
    twins = Nested()
    for layer in twins.listed:
        layer.name = "same"
    twins.build((None, 2))
    with pytest.raises(ValueError, match="a path of its own"):
        checkpoints.variables_of(model=twins)


def test_layers_in_lists_survive(tmp_path: pathlib.Path) -> None:
    model, other = Nested(), Nested()
    for each in (model, other):
        each.build((None, 2))
    state = checkpoints.write(str(tmp_path), 1, checkpoints.variables_of(model=model), {})
    checkpoints.read(state, checkpoints.variables_of(model=other))
    for weight, expected in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)


def test_facts_are_replaced_and_the_values_stay(states: pathlib.Path) -> None:
    state = checkpoints.newest(str(states))
    assert state is not None
    written = (states / "step-00000002" / DATA).stat()
    amended = checkpoints.amend(state, {"chosen": {"temperature": 0.9}})
    found = checkpoints.newest(str(states))
    assert found == amended == state._replace(facts={"chosen": {"temperature": 0.9}})
    assert read(found) == [2.0, 20.0]
    assert (states / "step-00000002" / DATA).stat() == written
