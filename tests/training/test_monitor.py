import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageSequence

from lstm_gen.training import monitor


def save(folder: pathlib.Path, name: str, grey: int, height: int = 50) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (100, height), (grey, grey, grey)).save(folder / name)


def read(path: str) -> tuple[list[np.ndarray], list[int]]:
    """Return the frames of a GIF, in grey, and how long each is shown."""
    frames, durations = [], []
    with Image.open(io.BytesIO(pathlib.Path(path).read_bytes())) as gif:
        for frame in ImageSequence.Iterator(gif):
            frames.append(np.asarray(frame.convert("L")))
            durations.append(frame.info["duration"])
    return frames, durations


def test_clips_of_a_step_are_shown_together_and_steps_in_order(tmp_path: pathlib.Path) -> None:
    for step, grey in ((20, 120), (3, 40), (100, 200)):
        save(tmp_path, f"step-{step:08d}-clip-0.png", grey)
        save(tmp_path, f"step-{step:08d}-clip-1.png", 255 - grey)
        save(tmp_path, f"step-{step:08d}-song-0.png", 0)  # there are clips, which are the same ones
        save(tmp_path, f"step-{step:08d}-prediction.png", 0)
    path = monitor.write_animation(str(tmp_path))
    assert path == str(tmp_path / "training.gif")
    frames, durations = read(path)
    assert [frame.shape for frame in frames] == [(640, 640)] * 3
    assert [int(frame[100, 100]) for frame in frames] == [40, 120, 200]
    assert [int(frame[500, 100]) for frame in frames] == [215, 135, 55]
    assert durations[-1] > durations[0]
    first = pathlib.Path(path).read_bytes()
    monitor.write_animation(str(tmp_path))
    assert pathlib.Path(path).read_bytes() == first


def test_models_without_latents_show_their_songs(tmp_path: pathlib.Path) -> None:
    for step in (1, 2):
        save(tmp_path, f"step-{step:08d}-song-0.png", 100 * step)
    save(tmp_path, "step-00000002-song-1.png", 7)  # of a step that was cut short
    save(tmp_path, "step-00000001-song-1.png", 7)
    save(tmp_path, "step-00000003-song-1.png", 7)
    frames, _ = read(monitor.write_animation(str(tmp_path)))
    assert [int(frame[100, 100]) for frame in frames] == [100, 200]


def test_there_is_nothing_to_show_of_one_step(tmp_path: pathlib.Path) -> None:
    assert monitor.write_animation(str(tmp_path / "nowhere")) == ""
    save(tmp_path, "step-00000002-clip-0.png", 7)
    assert monitor.write_animation(str(tmp_path)) == ""
    assert not (tmp_path / "training.gif").exists()


def test_of_many_steps_the_first_and_the_last_are_kept(tmp_path: pathlib.Path) -> None:
    for step in range(130):
        save(tmp_path, f"step-{step:08d}-clip-0.png", step, height=5)
    frames, _ = read(monitor.write_animation(str(tmp_path)))
    shown = [int(frame[10, 100]) for frame in frames]
    assert len(shown) == 60
    assert (shown[0], shown[-1]) == (0, 129)
    assert shown == sorted(shown)


def test_a_trial_says_its_newest_metrics(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hypertune" / "output.metrics"
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", str(path))
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "7")
    report = monitor.TuningMetric()
    for step in range(1, 121):
        report.add(step, "likelihood_loss", step / 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["global_step"] for line in lines] == [str(step) for step in range(21, 121)]
    assert lines[-1].pop("timestamp") > 0
    assert lines[-1] == {
        "trial": "7",
        "likelihood_loss": "60.0",
        "global_step": "120",
        "checkpoint_path": "",
    }
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_TAG", "quality")
    report.add(121, "likelihood_loss", 1.0)
    assert json.loads(path.read_text().splitlines()[-1])["quality"] == "1.0"


def test_outside_a_study_nothing_is_said(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUD_ML_HP_METRIC_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    monitor.TuningMetric().add(1, "likelihood_loss", 0.5)
    assert list(tmp_path.iterdir()) == []
