"""A small folder of recordings and the dataset made of it."""

import dataclasses
import pathlib
import shutil

import material
import pytest
import soundfile

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import prepare


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder of five recordings, one of them twice, and a text."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "deep" / "er").mkdir(parents=True)
    for index in range(5):
        name = f"deep/er/{index}.flac" if index % 2 else f"{index}.wav"
        soundfile.write(
            folder / name, material.tone(8 + 3 * index, 200 + 150 * index), material.RATE
        )
    (folder / "twice.wav").write_bytes((folder / "2.wav").read_bytes())
    (folder / "notes.txt").write_text("not audio")
    return folder


@pytest.fixture(scope="session")
def dataset(recordings: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    """Return the dataset made of `recordings`; tests must not change it."""
    data_dir = tmp_path_factory.mktemp("made") / "dataset"
    made, n_tasks = prepare.prepare(
        material.make_job(recordings, data_dir, validation_fraction=0.3), 2
    )
    assert n_tasks
    return made


@pytest.fixture
def copy(dataset: manifest.Dataset, tmp_path: pathlib.Path) -> manifest.Dataset:
    """Return a dataset that a test may damage."""
    shutil.copytree(dataset.data_dir, tmp_path / "copy")
    return dataclasses.replace(dataset, data_dir=str(tmp_path / "copy"))
