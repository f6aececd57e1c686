import dataclasses
import pathlib
from typing import Any

import material
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from lstm_gen.audio import representations
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline, shuffle
from lstm_gen.dataset.prepare import prepare
from lstm_gen.platform import errors

WINDOW = WindowConfig(timesteps=20, shift=3, window_hop=10)
BATCH = 4

Batch = dict[str, Any]


def batches(
    dataset: manifest.Dataset, split: str = "train", take: int = -1, **arguments: Any
) -> list[Batch]:
    arguments = {"batch_size": BATCH, "seed": 5, **arguments}
    stream = pipeline.windows(dataset, split, WINDOW, **arguments)
    return list(stream.take(take).as_numpy_iterator())


def places(found: list[Batch]) -> list[tuple[int, int]]:
    return [
        (int(recording), int(start))
        for batch in found
        for recording, start, weight in zip(
            batch["recording"], batch["start_frame"], batch["weight"], strict=True
        )
        if weight
    ]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def one_epoch(dataset: manifest.Dataset, number: int = 0, **arguments: Any) -> list[Batch]:
    count = pipeline.windows_per_epoch(dataset, "train", WINDOW)
    arguments = {"batch_size": 1, "start_step": number * count, **arguments}
    return batches(dataset, take=count, **arguments)


def test_batches_are_as_the_contract_says(dataset: manifest.Dataset) -> None:
    stream = pipeline.windows(dataset, "train", WINDOW, BATCH, seed=0)
    assert stream.element_spec == {
        "frames": tf.TensorSpec([BATCH, 23, 8], tf.float32),
        "weight": tf.TensorSpec([BATCH], tf.float32),
        "recording": tf.TensorSpec([BATCH], tf.int64),
        "start_frame": tf.TensorSpec([BATCH], tf.int64),
        "row": tf.TensorSpec([BATCH], tf.int64),
    }
    assert all((batch["weight"] == 1).all() for batch in stream.take(9).as_numpy_iterator())


@pytest.mark.parametrize("training", [True, False])
def test_windows_are_the_normalised_frames_of_their_place(
    dataset: manifest.Dataset, training: bool
) -> None:
    segments = list(pipeline.segments(dataset, "train"))
    for batch in batches(dataset, take=10, training=training):
        np.testing.assert_array_equal(batch.pop("row"), range(BATCH))
        for frames, weight, recording, start in zip(*batch.values(), strict=True):
            (segment, first), *others = [
                (segment, first)
                for segment, number, first in segments
                if number == recording and first <= start < first + len(segment)
            ]
            assert not others
            assert weight == 1
            # Frames are scaled and shifted here, shifted and divided there.
            np.testing.assert_allclose(frames, segment[start - first :][:23], atol=1e-5)


def test_an_epoch_has_every_window_once(dataset: manifest.Dataset) -> None:
    found = places(one_epoch(dataset))
    assert len(found) == len(set(found)) == pipeline.windows_per_epoch(dataset, "train", WINDOW)
    for segment, recording, first in pipeline.segments(dataset, "train"):
        starts = sorted(
            start for r, start in found if r == recording and first <= start < first + len(segment)
        )
        assert len(starts) == shuffle.count_windows(len(segment), WINDOW)
        assert set(np.diff(starts)) <= {WINDOW.hop}


def test_epochs_differ_in_order_and_phase(dataset: manifest.Dataset) -> None:
    first, *others = (places(one_epoch(dataset, number)) for number in range(8))
    assert first not in others
    assert any(set(first) != set(other) for other in others)
    assert first != sorted(first)
    assert places(one_epoch(dataset, seed=6)) != first


@pytest.mark.parametrize("step", [0, 1, 7, 30, 31, 75])
def test_resuming_goes_on_as_if_never_stopped(dataset: manifest.Dataset, step: int) -> None:
    per_epoch = pipeline.windows_per_epoch(dataset, "train", WINDOW)
    assert per_epoch < 75 * BATCH  # the last case is in a later epoch
    assert_same(batches(dataset, take=6, start_step=step), batches(dataset, take=step + 6)[step:])


@pytest.mark.parametrize("global_seed", [0, 1, 99])
def test_the_global_seed_changes_nothing(dataset: manifest.Dataset, global_seed: int) -> None:
    expected = batches(dataset, take=8)
    tf.random.set_seed(global_seed)
    try:
        assert_same(batches(dataset, take=8), expected)
    finally:
        tf.random.set_seed(None)


@pytest.mark.parametrize("training", [True, False])
def test_two_hosts_of_two_devices_have_parts_of_each_batch(
    dataset: manifest.Dataset, training: bool
) -> None:
    size, n_steps = 4 * BATCH, 4
    together = batches(dataset, take=n_steps, batch_size=size, training=training)
    settings: dict[str, Any] = {"batch_size": size, "n_replicas": 4, "training": training}
    apart = [
        batches(dataset, take=2 * n_steps, replicas=replicas, **settings)
        for replicas in (range(2), range(2, 4))
    ]
    for step, whole in enumerate(together):
        parts = [batch for host in apart for batch in host[2 * step : 2 * step + 2]]
        assert len(parts) == 4
        for name, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), values)
    later = batches(dataset, take=3, start_step=2, replicas=range(2, 4), **settings)
    assert_same(later, apart[1][4:7])


def test_a_batch_must_divide_evenly(dataset: manifest.Dataset) -> None:
    with pytest.raises(errors.InputError, match="batch_size=4, devices=3"):
        batches(dataset, n_replicas=3)


def test_validation_is_one_pass_in_order_filled_with_weight_0(dataset: manifest.Dataset) -> None:
    count = pipeline.windows_per_epoch(dataset, "validation", WINDOW)
    size = next(size for size in (4, 5, 7, 9, 11) if count % size)
    found = batches(dataset, "validation", training=False, batch_size=size)
    assert [batch["frames"].shape for batch in found] == [(size, 23, 8)] * -(-count // size)
    wanted = [
        (recording, first + start)
        for segment, recording, first in pipeline.segments(dataset, "validation")
        for start in range(0, len(segment) - 22, WINDOW.hop)
    ]
    assert places(found) == wanted
    assert sum(batch["weight"].sum() for batch in found) == count
    assert all(np.isfinite(batch["frames"]).all() for batch in found)


def test_short_segments_give_nothing(dataset: manifest.Dataset) -> None:
    lengths = [n for shard in dataset.splits["train"].shards for n in shard.frames]
    longest = max(lengths)
    window = WindowConfig(timesteps=longest - 1, shift=1)
    count = pipeline.windows_per_epoch(dataset, "train", window)
    assert count == lengths.count(longest)
    for training in (True, False):
        stream = pipeline.windows(dataset, "train", window, count, 0, training=training)
        (batch,) = stream.take(1).as_numpy_iterator()
        assert len(set(places([batch]))) == count


def test_no_window_at_all_is_an_error(dataset: manifest.Dataset) -> None:
    window = WindowConfig(timesteps=500, shift=1)
    with pytest.raises(errors.InputError, match=r"501 frames must fit.*longest segment \d+ frames"):
        pipeline.windows(dataset, "train", window, BATCH, seed=0)
    with pytest.raises(errors.InputError, match=r"longest segment 0 frames"):
        pipeline.windows(dataset, "test", window, BATCH, seed=0)
    with pytest.raises(errors.InputError, match="split must be one of train, validation, test"):
        pipeline.windows(dataset, "training", window, BATCH, seed=0)


def test_float32_datasets_are_read_too(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "a.wav", material.tone(10, 300), material.RATE)
    job = material.make_job(source, tmp_path / "out", validation_fraction=0.2)
    wide = dataclasses.replace(job, segment=dataclasses.replace(job.segment, dtype="float32"))
    made, _ = prepare.prepare(wide)
    (batch,) = pipeline.windows(made, "train", WINDOW, 2, seed=0).take(1).as_numpy_iterator()
    whole = representations.extract(material.tone(10, 300), material.AUDIO)
    start = batch["start_frame"][0]
    # The file holds 16-bit samples: their rounding shows where the tone is not.
    difference = made.normalisation.undo(batch["frames"][0]) - whole[start : start + 23]
    assert np.abs(difference).max() < 0.05
