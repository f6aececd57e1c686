"""The walk of a recording through the modules, from a file to a batch."""

import pathlib
import sys
from types import FrameType

import material
import preparations
import pytest
import soundfile

from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.input import pipeline
from lstm_gen.dataset.prepare import prepare, workers

MOST_MODULES = 20  # of lstm_gen, without settings and platform
# Nor the fit to a sample of recordings, which is over before the walk begins.
FIT = ("dataset.prepare.fit", "audio.fitted", "audio.start_spectrum")
NOT_COUNTED = (
    *("lstm_gen.config.", "lstm_gen.platform."),
    *(f"lstm_gen.{name}" for name in FIT),
)


def test_a_recording_meets_few_modules_before_it_is_in_a_batch(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recordings").mkdir()
    for index in range(3):
        samples = material.tone(8, 200 + 100 * index)
        soundfile.write(tmp_path / "recordings" / f"{index}.wav", samples, material.RATE)
    monkeypatch.setattr(workers, "run", preparations.work_here)
    met = {workers.__name__}  # replaced here

    def note(frame: FrameType, event: str, _: object) -> None:
        name = str(frame.f_globals.get("__name__", ""))
        called = event == "call" and not frame.f_code.co_name.startswith("<")
        if called and name.startswith("lstm_gen.") and not name.startswith(NOT_COUNTED):
            met.add(name)

    job = material.make_job(tmp_path / "recordings", tmp_path / "dataset")
    window = WindowConfig(timesteps=16)
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        dataset, _ = prepare.prepare(job, 1)
        batches = pipeline.windows(dataset, "train", window, batch_size=2, seed=0)
        batch = next(batches.as_numpy_iterator())
    finally:
        sys.setprofile(before)
    assert batch["frames"].shape == (2, window.frames, material.AUDIO.channels)
    assert {"lstm_gen.dataset.prepare.shards", "lstm_gen.dataset.format.records"} <= met
    assert len(met) <= MOST_MODULES, sorted(met)
