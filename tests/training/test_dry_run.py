"""Measurements of a dry run, which writes nothing."""

import pathlib

import pytest
import tensorflow as tf
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.platform import devices, errors
from lstm_gen.training import report

FLOAT_BYTES = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


def test_it_measures_and_writes_nothing(
    dataset: manifest.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_TIMED_SECONDS", 0.0)
    folder = pathlib.Path(dataset.data_dir)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = tiny.make_run(dataset)
    found = report.measure(run, dataset, 2, devices.strategy("cpu"))
    width, d, k = tiny.SETTINGS.units, tiny.AUDIO.n_mels, tiny.SETTINGS.components
    recurrent = 4 * width * (d + width + 1)
    head = width * k * (2 * d + 1) + k + 2 * k * d + d + d * d
    norm = 2 * width
    assert found.n_parameters == recurrent + norm + head
    # Adam keeps two values beside each, and a few of its own; how loud frames get is known too.
    state = found.state_bytes / FLOAT_BYTES - 3 * found.n_parameters - (d + 1)
    assert 0 < state < 10
    # Segments of 60 and 50 frames hold 7 and 6 windows of 8 + 1 that touch.
    assert found.steps_per_epoch == pytest.approx((7 + 6) / 4)
    assert 10e6 < found.peak_bytes < 100e9
    assert not found.on_gpu
    assert 0 < found.step_seconds < found.start_seconds
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_batch_that_cannot_be_divided_is_refused(dataset: manifest.Dataset) -> None:
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(errors.InputError, match="multiple of the number of devices"):
        report.measure(tiny.make_run(dataset), dataset, 2, Three())


def test_the_description() -> None:
    found = report.Measurement(
        n_parameters=1_234_567,
        state_bytes=14_800_000,
        peak_bytes=1_500_000_000,
        on_gpu=False,
        steps_per_epoch=12.5,
        start_seconds=20.0,
        step_seconds=0.25,
    )
    text = report.describe_measurement(found, n_steps=1000)
    for part in (
        "1,234,567 parameters",
        "14.8 MB",
        "1.50 GB, peak of this process",
        "12.5 steps, 3.1 s",
    ):
        assert part in text
    assert "0.2500 s a step" in text
    assert "finish    about 4.5 min for 1000 steps" in text
    assert "peak of the GPU" in report.describe_measurement(found._replace(on_gpu=True), n_steps=1)


def test_the_peak_of_every_gpu_is_asked_for_by_its_whole_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"/job:worker/replica:0/task:0/device:GPU:{index}" for index in (0, 9, 10, 123)]
    gpus = [tf.config.LogicalDevice(name, "GPU") for name in names]
    peaks = {"GPU:0": 1, "GPU:9": 2, "GPU:10": 40, "GPU:123": 3}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "get_memory_info", lambda name: {"peak": peaks[name]}
    )
    assert report._peak_bytes() == (40, True)
