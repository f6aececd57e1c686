"""The newest checkpoint is damaged in hundreds of ways: the one before it must do."""

import os
import pathlib
import random
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen.platform import errors
from lstm_gen.runs import lease
from lstm_gen.training import state

Damage = Callable[[pathlib.Path, random.Random], None]
FILES = ("state.safetensors", "commit.json")


def edit(change: Callable[[bytearray, int, random.Random], bytes]) -> Damage:
    """Return a damage to the content of either file, from a drawn place on."""

    def damage(folder: pathlib.Path, draw: random.Random) -> None:
        path = folder / draw.choice(FILES)
        before = path.read_bytes()
        while path.read_bytes() == before:
            path.write_bytes(change(bytearray(before), draw.randrange(len(before)), draw))

    return damage


def replace(make: Callable[[pathlib.Path], object]) -> Damage:
    """Return a damage that puts something else in either file's place."""

    def damage(folder: pathlib.Path, draw: random.Random) -> None:
        path = folder / draw.choice(FILES)
        path.unlink()
        make(path)

    return damage


def flip(content: bytearray, at: int, draw: random.Random) -> bytes:
    content[at] ^= 1 << draw.randrange(8)
    return bytes(content)


def blank(content: bytearray, at: int, draw: random.Random) -> bytes:
    stop = min(len(content), at + draw.randrange(1, 600))
    content[at:stop] = bytes(stop - at)
    return bytes(content)


def repeat(content: bytearray, at: int, draw: random.Random) -> bytes:
    return bytes(content[:at] + content[: draw.randrange(1, 99)] + content[at:])


def older(name: str) -> Damage:
    """Return a damage that puts the older state's file, or all of it, in place."""

    def damage(folder: pathlib.Path, _draw: random.Random) -> None:
        shutil.copytree(folder.parent / "step-00000001", folder, dirs_exist_ok=True)
        if name:
            shutil.copy(folder.parent / "spare" / name, folder)

    return damage


def garble(folder: pathlib.Path, draw: random.Random) -> None:
    (folder / draw.choice(FILES)).write_bytes(draw.randbytes(draw.randrange(5000)))


def remove(path: pathlib.Path) -> None:
    """Delete a file or a directory."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def become_file(folder: pathlib.Path, _draw: random.Random) -> None:
    remove(folder)
    folder.touch()


DAMAGES: list[Damage] = [
    *[edit(flip)] * 6,
    *[edit(lambda content, at, _: bytes(content[:at]))] * 3,
    *[edit(blank)] * 2,
    edit(repeat),
    edit(lambda content, at, draw: bytes(content[at:] + content[:at]) + draw.randbytes(1)),
    replace(lambda _: None),
    replace(pathlib.Path.touch),
    replace(pathlib.Path.mkdir),
    replace(os.mkfifo),
    replace(lambda path: path.symlink_to(path.parent.parent / "spare" / path.name)),
    replace(lambda path: path.symlink_to("/dev/zero")),
    older(""),
    older(FILES[0]),
    older(FILES[1]),
    garble,
    become_file,
]


@pytest.mark.parametrize("n_damages", [60, pytest.param(300, marks=pytest.mark.faults)])
def test_the_state_before_a_damaged_one_is_restored(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, n_damages: int
) -> None:
    dataset = tiny.make_dataset(tmp_path / "dataset")
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    made = state.State(str(tmp_path), tiny.make_run(dataset), dataset, strategy, lease.Lease())
    weight, states = made.model.trainable_variables[0], pathlib.Path(tmp_path, "checkpoints")
    for step in (1, 2):
        made.progress.step = step
        weight.assign(tf.fill(weight.shape, float(step)))
        made.save(keep=2)
    newest, spare = states / "step-00000002", states / "spare"
    shutil.copytree(newest, spare)
    draw = random.Random(n_damages)
    for number in range(n_damages):
        remove(newest)
        shutil.copytree(spare, newest)
        DAMAGES[number % len(DAMAGES)](newest, draw)
        caplog.clear()
        assert made.restore()
        assert made.progress.step == 1, f"damage {number} was not noticed"
        np.testing.assert_array_equal(weight.numpy(), np.ones(weight.shape))
        assert "step-00000002 is damaged or incomplete" in caplog.text
    shutil.rmtree(states / "step-00000001")
    with pytest.raises(errors.InputError, match="none of the states"):
        made.restore()
