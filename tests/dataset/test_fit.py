"""Arrays of the analysis that a preparation fits to the training split."""

import dataclasses
import json
import pathlib
import shutil
import tracemalloc
from typing import Any

import material
import numpy as np
import preparations
import pytest
import soundfile

from lstm_gen.audio import fitted, representations, start_spectrum, stft
from lstm_gen.config.dataset import SegmentConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import integrity, manifest
from lstm_gen.dataset.prepare import discover, fit, plan, prepare
from lstm_gen.platform import errors


def make_job(folder: pathlib.Path, data_dir: pathlib.Path, **audio: Any) -> plan.Job:
    """Return a job whose frames are activations."""
    job = material.make_job(folder, data_dir, split="blocks", validation_fraction=0.2)
    chosen: dict[str, Any] = {"representation": "activations", "n_atoms": 6} | audio
    return dataclasses.replace(job, audio=dataclasses.replace(job.audio, **chosen))


def recording_of(job: plan.Job) -> discover.Recording:
    """Return the only recording of a job."""
    (recording,) = plan.make(job, integrity.HashCache("")).recordings
    return recording


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("songs")
    for index, hz in enumerate((220, 330, 440)):
        samples = np.concatenate([material.tone(20, hz), material.tone(20, hz * 1.5)])
        soundfile.write(folder / f"{index}.wav", samples, material.RATE)
    (folder / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def made(songs: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    dataset, _ = prepare.prepare(make_job(songs, tmp_path_factory.mktemp("made") / "d"), 1)
    return dataset


def arrays_of(dataset: manifest.Dataset) -> dict[str, np.ndarray]:
    assert dataset.audio.fitted is not None
    return dict(dataset.audio.fitted.arrays)


def test_workers_change_no_byte(
    songs: pathlib.Path, made: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    prepare.prepare(make_job(songs, tmp_path), 3)
    assert preparations.tree(tmp_path) == preparations.tree(pathlib.Path(made.data_dir))


def test_frames_are_activations_and_come_back(made: manifest.Dataset) -> None:
    dataset = manifest.load(made.data_dir)
    shard = dataset.splits["validation"].shards[0]
    segment = next(dataset.read_segments(shard))
    assert segment.frames.shape[1] == dataset.audio.channels == 6
    sound = representations.invert(segment.frames, dataset.audio)
    back = representations.extract(sound, dataset.audio)[: len(segment.frames)]
    loud = segment.frames > segment.frames.max() - 4
    assert np.abs(back - segment.frames)[loud].mean() < 0.5
    assert not list(inspection.find_problems(manifest.describe(made.data_dir), deep=True))


def test_the_held_out_is_not_in_the_fit(songs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Changed sound within held-out blocks leaves the arrays as they were."""
    fits = []
    for name in ("as_it_was", "changed"):
        folder = tmp_path / name
        folder.mkdir()
        samples, rate = soundfile.read(songs / "0.wav")
        job = make_job(folder, tmp_path / f"{name}-made")
        if name == "changed":
            # One period: its block of 8 s is in the middle.
            samples[18 * rate : 22 * rate] *= -0.5
        soundfile.write(folder / "0.wav", samples, rate)
        fits.append(arrays_of(prepare.prepare(job, 1)[0]))
    np.testing.assert_array_equal(fits[0]["dictionary"], fits[1]["dictionary"])


@pytest.mark.parametrize("example_seconds", [0.0, 0.5])
def test_the_sample_is_of_the_frames_asked_for(
    tmp_path: pathlib.Path, example_seconds: float
) -> None:
    """Its spectra are the transform's, also of examples, whose frames are counted through."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 6 * material.RATE + 3000)
    soundfile.write(tmp_path / "a.wav", samples, material.RATE, subtype="FLOAT")
    segment = SegmentConfig(example_seconds=example_seconds, dtype="float32")
    job = dataclasses.replace(make_job(tmp_path, tmp_path / "d"), segment=segment)
    length = round(example_seconds * material.RATE) or len(samples)
    padded = np.pad(samples, (0, -len(samples) % length)).reshape(-1, length)
    whole = np.concatenate([stft.power(stft.stft(one, job.audio)) for one in padded])
    runs = [slice(0, 64), slice(90, 100), slice(100, 164), slice(len(whole) - 40, len(whole))]
    found = fit._read_spectra(job, recording_of(job), runs)
    assert len(found) == len(runs)
    for run, power in zip(runs, found, strict=True):
        np.testing.assert_allclose(power, whole[run], rtol=1e-4, atol=1e-7)
    assert not fit._read_spectra(job, recording_of(job), [])


def test_memory_for_the_sample_does_not_grow_with_the_recording(tmp_path: pathlib.Path) -> None:
    peaks = []
    for seconds in (60, 600):
        folder = tmp_path / str(seconds)
        folder.mkdir()
        soundfile.write(folder / "a.wav", np.zeros(seconds * material.RATE), material.RATE)
        job = make_job(folder, tmp_path / "d")
        last = round(seconds * job.audio.frames_per_second)
        tracemalloc.start()
        try:
            fit._read_spectra(job, recording_of(job), [slice(0, 64), slice(last - 64, last)])
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_recording_that_breaks_under_the_fit_is_not_passed_over(tmp_path: pathlib.Path) -> None:
    """Or the arrays fitted without it would outlive the cause."""
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.wav"
    soundfile.write(path, material.tone(10, 300), material.RATE)
    planned = plan.make(make_job(tmp_path / "in", tmp_path / "d"), integrity.HashCache(""))
    assert planned.fit is not None
    path.write_bytes(b"RIFF")
    with pytest.raises(errors.InputError, match=r"must not change while they are read.*a\.wav"):
        fit.write_task(planned.job, planned.fit, (), lambda _: None, lambda _: None)


def test_a_kill_after_the_fit_repeats_nothing(
    songs: pathlib.Path, made: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    """Without `dataset.json` and a shard, the arrays are kept, and the tree is the same."""
    folder = tmp_path / "d"
    shutil.copytree(made.data_dir, folder)
    before = (folder / fitted.FILE).stat().st_mtime_ns
    (folder / manifest.DATASET_FILE).unlink()
    next(folder.glob("train-*")).unlink()
    assert prepare.prepare(make_job(songs, folder), 1)[1] == 1
    assert (folder / fitted.FILE).stat().st_mtime_ns == before
    assert preparations.tree(folder) == preparations.tree(pathlib.Path(made.data_dir))


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_arrays_are_named_and_fitted_again(
    songs: pathlib.Path, made: manifest.Dataset, tmp_path: pathlib.Path, damage: str
) -> None:
    folder = tmp_path / "d"
    shutil.copytree(made.data_dir, folder)
    path = folder / fitted.FILE
    content = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(errors.InputError, match=r"fitted\.safetensors .*create_tfrecord\.py"):
        manifest.load(str(folder))
    found = list(inspection.find_problems(manifest.describe(str(folder)), deep=True))
    assert any(fitted.FILE in line for line in found)
    prepare.prepare(make_job(songs, folder), 1)
    assert path.read_bytes() == content
    assert not list(inspection.find_problems(manifest.describe(str(folder)), deep=True))


def test_the_fingerprint_covers_the_arrays(made: manifest.Dataset) -> None:
    shards = {name: split.shards for name, split in made.splits.items()}
    with_arrays = manifest.fingerprint(made.plan, shards, made.audio.fitted)
    assert made.fingerprint == with_arrays != manifest.fingerprint(made.plan, shards)
    values = json.loads((pathlib.Path(made.data_dir) / manifest.DATASET_FILE).read_text())
    assert made.audio.fitted is not None
    assert values["fitted"]["sha256"] == made.audio.fitted.sha256


def test_mel_datasets_have_a_map_and_others_nothing(
    songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    mel = prepare.prepare(make_job(songs, tmp_path / "mel", representation="log_mel"), 1)[0]
    assert set(arrays_of(mel)) == {start_spectrum.NAME}
    assert np.abs(arrays_of(mel)[start_spectrum.NAME].astype("f4")).max() > 0.01
    other = prepare.prepare(make_job(songs, tmp_path / "stft", representation="log_stft"), 1)[0]
    assert other.audio.fitted is None
    assert not (tmp_path / "stft" / fitted.FILE).exists()


def test_a_dataset_without_arrays_is_read_as_before(
    songs: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A dataset of an earlier version has no fitted arrays, and inverts without them."""
    prepare.prepare(make_job(songs, tmp_path, representation="log_mel"), 1)
    values = manifest.read_values(str(tmp_path))
    del values["fitted"]
    values["checksum"] = manifest.checksum(values)
    (tmp_path / manifest.DATASET_FILE).write_text(json.dumps(values))
    (tmp_path / fitted.FILE).unlink()
    dataset = manifest.load(str(tmp_path))
    assert dataset.audio.fitted is None
    segment = next(dataset.read_segments(dataset.splits["train"].shards[0]))
    assert np.abs(representations.invert(segment.frames, dataset.audio)).max() > 0.01


def test_recordings_that_cannot_be_used_are_said_as_ever(tmp_path: pathlib.Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", np.zeros(9000), material.RATE)
    with pytest.raises(errors.InputError, match="1 silent"):
        prepare.prepare(make_job(tmp_path / "in", tmp_path / "out"), 1)
    assert not list((tmp_path / "out").glob("*"))
