"""A dataset in one picture: what it counts is in the dataset, and every kind can be drawn."""

import dataclasses
import pathlib
import subprocess
import sys

import material
import matplotlib.image
import numpy as np
import pytest
import soundfile

from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import prepare
from lstm_gen.platform import errors

ROOT = pathlib.Path(__file__).parents[2]


def prepare_tones(folder: pathlib.Path, audio: AudioConfig) -> manifest.Dataset:
    """Make a dataset of a loud tone and a soft one of 781 Hz, split into blocks."""
    (folder / "in").mkdir()
    tone = np.sin(2 * np.pi * 781 * np.arange(6 * material.RATE) / material.RATE)
    soundfile.write(folder / "in" / "a $x$.wav", 0.5 * tone, material.RATE)
    soundfile.write(folder / "in" / "b.wav", 0.05 * tone, material.RATE)
    job = material.make_job(folder / "in", folder / "out", block_seconds=0.5, guard_seconds=0.1)
    return prepare.prepare(dataclasses.replace(job, audio=audio), 1)[0]


@pytest.mark.parametrize(
    "audio",
    [
        dataclasses.replace(material.AUDIO, mel_break_hz=1000.0),  # a band is centred at 781 Hz
        dataclasses.replace(material.AUDIO, representation="log_stft", n_bins=100),
        dataclasses.replace(material.AUDIO, representation="complex_stft"),
        dataclasses.replace(material.AUDIO, representation="complex_stft", phase="real_imaginary"),
        dataclasses.replace(material.AUDIO, representation="waveform"),
    ],
    ids=["log_mel", "log_stft", "complex_stft", "real_imaginary", "waveform"],
)
def test_every_representation_is_drawn(audio: AudioConfig, tmp_path: pathlib.Path) -> None:
    dataset = prepare_tones(tmp_path, audio)
    view = inspection.sample(dataset, "train")
    frequent = [level for level, _ in view.levels_db.most_common(2)]
    assert abs(frequent[0] - frequent[1]) == pytest.approx(20, abs=1)  # 0.5 and 0.05
    assert view.rows_hz[view.rows_db.mean.argmax()] == pytest.approx(781, abs=1)
    inspection.draw(str(tmp_path / "a.png"), dataset)
    assert matplotlib.image.imread(tmp_path / "a.png").shape[:2] == (1080, 1600)


def test_every_frame_is_counted(dataset: manifest.Dataset) -> None:
    for name, split in dataset.splits.items():
        if split.n_records:
            view = inspection.sample(dataset, name)
            assert view.levels_db.total() == view.rows_db.count == split.n_frames
            assert len(view.examples) == min(3, split.n_records)
    np.testing.assert_allclose(
        inspection.sample(dataset, "train").rows_db.mean,
        dataset.normalisation.mean * 10 / np.log(10),
        rtol=1e-5,
    )


def test_of_many_segments_some_are_looked_at(
    dataset: manifest.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "_MOST_SEGMENTS", 2)
    lengths = [n for shard in dataset.splits["train"].shards for n in shard.frames]
    view = inspection.sample(dataset, "train")
    assert view.rows_db.count == lengths[0] + lengths[-1]
    assert len(view.examples) == 3


def test_a_picture_needs_no_manifest(copy: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    pathlib.Path(copy.data_dir, "manifest.jsonl").unlink()
    inspection.draw(str(tmp_path / "a.png"), copy)
    assert (tmp_path / "a.png").exists()


def test_nothing_cannot_be_drawn(dataset: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    nothing = manifest.Split(recordings=0, shards=(), seconds=0.0)
    empty = dataclasses.replace(dataset, splits=dict.fromkeys(dataset.splits, nothing))
    with pytest.raises(errors.InputError, match="must be a segment to draw"):
        inspection.draw(str(tmp_path / "none.png"), empty)


def test_the_command_draws(dataset: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "dataset.png"
    command = [sys.executable, "-m", "lstm_gen", "check", f"--data_dir={dataset.data_dir}"]
    result = subprocess.run(
        [*command, f"--plots={path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"{path}: a picture of the dataset" in result.stdout
    assert matplotlib.image.imread(path).shape[1] == 1600
