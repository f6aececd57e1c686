"""Fixed-length examples, and datasets of every representation: made, checked, read, inverted."""

import dataclasses
import pathlib
from typing import Any

import material
import numpy as np
import pytest
import soundfile

from lstm_gen.audio import representations, stft
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import manifest, records
from lstm_gen.dataset.input import pipeline
from lstm_gen.dataset.prepare import plan, prepare, shards

RATE = material.RATE
WAVEFORM = AudioConfig(sample_rate=RATE, representation="waveform", hop_length=200)
SETTINGS = [
    (dataclasses.replace(material.AUDIO, representation="log_stft"), "float16"),
    (dataclasses.replace(material.AUDIO, representation="complex_stft", n_bins=128), "float16"),
    (
        dataclasses.replace(
            material.AUDIO, representation="complex_stft", phase="real_imaginary", n_bins=0
        ),
        "float32",
    ),
    (WAVEFORM, "int16"),
]


def make(
    folder: pathlib.Path, lengths: dict[str, float], audio: Any, **segment: Any
) -> tuple[manifest.Dataset, dict[str, Any]]:
    """Prepare 16-bit recordings of these seconds; return the dataset and its lines by name."""
    (folder / "in").mkdir()
    for index, (name, seconds) in enumerate(lengths.items()):
        tone = material.tone(seconds, 300 + 100 * index)
        soundfile.write(folder / "in" / name, tone, RATE, "PCM_16")
    job = plan.Job(
        input_dir=str(folder / "in"),
        data_dir=str(folder / "out"),
        plots_dir="",
        audio=audio,
        segment=SegmentConfig(**segment),
        split=SplitConfig(split="recording", validation_fraction=0),
    )
    dataset, _ = prepare.prepare(job, n_workers=1)
    lines = {line["name"]: line for line in manifest.load_lines(dataset.data_dir)}
    return dataset, lines


def read(dataset: manifest.Dataset) -> list[records.Segment]:
    return [
        segment
        for shard in dataset.splits["train"].shards
        for segment in dataset.read_segments(shard)
    ]


def decode(dataset: manifest.Dataset, name: str) -> Any:
    path = pathlib.Path(dataset.data_dir).parent / "in" / name
    return soundfile.read(path, dtype="float32")[0]


def test_examples_are_exactly_as_long_as_asked(tmp_path: pathlib.Path) -> None:
    """Short ones are filled up, long ones cut; a rest is kept from half an example on."""
    lengths = {"short.wav": 0.3, "even.wav": 2.0, "half.wav": 2.5, "rest.wav": 3.49}
    dataset, lines = make(tmp_path, lengths, WAVEFORM, example_seconds=1, dtype="int16")
    found = {name: line["segments"].get("train", 0) for name, line in lines.items()}
    assert found == {"short.wav": 1, "even.wav": 2, "half.wav": 3, "rest.wav": 3}
    padded = {name: line["seconds_padded"] for name, line in lines.items()}
    assert padded == {"short.wav": 0.7, "even.wav": 0, "half.wav": 0.5, "rest.wav": 0}
    assert lines["rest.wav"]["seconds_left_over"] == pytest.approx(0.49)
    text = inspection.describe(dataset, lines.values())
    assert "1.2 seconds of silence pad 2 recordings, 0.5 seconds are left over" in text
    assert not list(inspection.find_problems(dataset, deep=True))
    expected = [
        np.resize(np.append(part, np.zeros(RATE)), RATE).astype("f4")
        for name in lengths
        for part in np.split(decode(dataset, name), np.arange(1, lengths[name]).astype(int) * RATE)
        if len(part) > 0.499 * RATE or name == "short.wav"
    ]
    back = [representations.invert(s.frames, WAVEFORM, n_samples=RATE) for s in read(dataset)]
    assert len(back) == len(expected) == 9
    assert {one.tobytes() for one in back} == {one.tobytes() for one in expected}


@pytest.mark.parametrize(("audio", "dtype"), SETTINGS)
def test_an_example_of_any_representation_sounds_again(
    tmp_path: pathlib.Path, audio: AudioConfig, dtype: str
) -> None:
    dataset, _ = make(tmp_path, {"a.wav": 4.0}, audio, example_seconds=2, dtype=dtype)
    assert not list(inspection.find_problems(dataset, deep=True))
    samples, n_samples = decode(dataset, "a.wav"), 2 * RATE
    for index, segment in enumerate(read(dataset)):
        assert segment.frames.dtype == dtype
        assert segment.frames.shape == (
            representations.n_frames(n_samples, audio),
            audio.channels,
        )
        back = representations.invert(segment.frames, audio, n_samples=n_samples)
        true = samples[index * n_samples :][:n_samples]
        if audio.representation == "log_stft":
            one, other = (np.abs(stft.stft(x, audio)) for x in (true, back))
            assert np.linalg.norm(one - other) < 0.2 * np.linalg.norm(one)
        else:
            error = np.linalg.norm(true - back) / np.linalg.norm(true)
            assert error < (1e-9 if dtype == "int16" else 3e-3)


@pytest.mark.parametrize(("audio", "dtype"), SETTINGS)
def test_long_segments_of_any_representation_stand_on_their_own(
    tmp_path: pathlib.Path, audio: AudioConfig, dtype: str
) -> None:
    lengths = {"a.wav": 3.0, "b.wav": 2.0}
    dataset, _ = make(tmp_path, lengths, audio, segment_frames=50, dtype=dtype)
    assert not list(inspection.find_problems(dataset, deep=True))
    assert len(read(dataset)) >= 4
    sounds = [decode(dataset, name) for name in lengths]
    for segment in read(dataset) if audio.representation != "log_stft" else []:
        n_samples = (len(segment.frames) - 1) * audio.hop_length
        back = representations.invert(segment.frames, audio, n_samples=n_samples)
        start = segment.start_frame * audio.hop_length
        errors = [
            np.abs(back - sound[start:][:n_samples]).max()
            for sound in sounds
            if len(sound) >= start + n_samples
        ]
        assert min(errors) < 2e-3


@pytest.mark.parametrize(("audio", "dtype"), SETTINGS)
@pytest.mark.parametrize("kind", ["standard", "min_max"])
def test_a_model_sees_what_the_normalisation_says(
    tmp_path: pathlib.Path, audio: AudioConfig, dtype: str, kind: str
) -> None:
    audio = dataclasses.replace(audio, normalisation=kind)
    dataset, _ = make(tmp_path, {"a.wav": 2.0, "b.wav": 1.0}, audio, dtype=dtype, trim_db=0)
    dataset = manifest.load(dataset.data_dir)
    seen = [frames for frames, _, _ in pipeline.segments(dataset, "train")]
    whole = np.concatenate(seen)
    if kind == "min_max":
        assert np.abs(whole).max() == pytest.approx(1, abs=1e-4)
    else:
        assert np.abs(whole.mean()) < 1e-3
        assert 0.05 < whole.std() < 1.001
    normal = dataset.normalisation
    for frames, stored in zip(seen, read(dataset), strict=True):
        back = normal.undo(frames)
        np.testing.assert_allclose(
            back, representations.dequantise(stored.frames), atol=2e-4 * np.abs(back).max()
        )
    window = WindowConfig(timesteps=10, shift=1)
    batch = next(iter(pipeline.windows(dataset, "train", window, 2, seed=0, training=False)))
    np.testing.assert_allclose(batch["frames"][0], seen[0][:11], atol=1e-4)


def test_quiet_examples_are_left_out_whole() -> None:
    loud, quiet = (level * material.tone(1, 300).astype("f4") for level in (1, 1e-4))
    segment = SegmentConfig(example_seconds=1)
    found = shards.analyse([quiet, loud, quiet], material.AUDIO, segment)
    np.testing.assert_array_equal(
        found.active.reshape(3, found.example_frames), [[False], [True], [False]] * np.ones(63)
    )


def test_an_example_that_the_edge_of_a_split_runs_through_is_in_none() -> None:
    active = np.repeat([True, False, True, True, True], 4)
    labels = np.array([0] * 4 + [0, 0, -1, -1] + [-1] * 4 + [1] * 4, np.int8)
    pieces, torn = shards.place_examples(active, labels, 4)
    assert pieces == [
        shards.Place(manifest.SPLITS[0], 0, 4),
        shards.Place(manifest.SPLITS[1], 16, 20),
    ]
    assert torn == 4


@pytest.mark.parametrize("sizes", [[7], [3, 3, 1], [1] * 7, [0, 7, 0]])
def test_pieces_do_not_depend_on_blocks(sizes: list[int]) -> None:
    blocks = np.split(np.arange(7, dtype="f4"), np.cumsum(sizes)[:-1])
    pieces = [piece.tolist() for piece in shards.cut_samples(blocks, 3)]
    assert pieces == [[0, 1, 2], [3, 4, 5], [6]]


def test_nothing_is_one_empty_piece() -> None:
    assert [len(piece) for piece in shards.cut_samples([], 3)] == [0]


def test_no_more_examples_than_wanted_are_made(tmp_path: pathlib.Path) -> None:
    lengths = {"short.wav": 0.3, "even.wav": 2.0, "long.wav": 3.49}
    dataset, lines = make(
        tmp_path, lengths, WAVEFORM, example_seconds=1, max_examples=1, dtype="int16"
    )
    assert all(line["segments"] == {"train": 1} for line in lines.values())
    left = {name: line["seconds_left_over"] for name, line in lines.items()}
    assert left == pytest.approx({"short.wav": 0, "even.wav": 1, "long.wav": 2.49})
    back = {
        representations.invert(s.frames, WAVEFORM, n_samples=RATE).tobytes() for s in read(dataset)
    }
    expected = {
        np.resize(np.append(decode(dataset, n), np.zeros(RATE)), RATE).astype("f4").tobytes()
        for n in lengths
    }
    assert back == expected
    assert not list(inspection.find_problems(dataset, deep=True))
