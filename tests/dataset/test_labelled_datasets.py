"""Labels through a whole preparation, and what becomes of the dataset when they change."""

import dataclasses
import json
import pathlib
import shutil
import typing

import material
import numpy as np
import pytest
import soundfile

from lstm_gen.config.dataset import LabelConfig
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.dataset.input import excerpts as primers
from lstm_gen.dataset.input import pipeline
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.platform import errors

TABLE = "file,pitch,mood,genre\n" + "".join(
    f"{row},{60 + row},{'calm|slow' if row % 2 else ''},{'jazz' if row % 3 else 'rock'}\n"
    for row in range(12)
)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> plan.Job:
    """Return the job of thirteen labelled recordings, and one row too many."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "in").mkdir()
    for row in range(13):
        tone = material.tone(0.5, 200 + 50 * row)
        soundfile.write(folder / "in" / f"{row}.wav", tone, material.RATE)
    (folder / "songs.csv").write_text(f"{TABLE}gone,1,,\n")
    return dataclasses.replace(
        material.make_job(folder / "in", folder / "out", validation_fraction=0.2),
        label_source=LabelConfig(labels="csv", labels_file=str(folder / "songs.csv")),
    )


@pytest.fixture(scope="module")
def labelled(job: plan.Job) -> manifest.Dataset:
    """Return the dataset; tests must not change it."""
    return prepare.prepare(job)[0]


@pytest.fixture
def copy(job: plan.Job, labelled: manifest.Dataset, tmp_path: pathlib.Path) -> plan.Job:
    """Return a job whose dataset is made, that a test may change."""
    shutil.copytree(labelled.data_dir, tmp_path / "out")
    shutil.copy(job.label_source.labels_file, tmp_path / "songs.csv")
    source = dataclasses.replace(job.label_source, labels_file=str(tmp_path / "songs.csv"))
    return dataclasses.replace(job, data_dir=str(tmp_path / "out"), label_source=source)


def read(dataset: manifest.Dataset) -> list[records.Segment]:
    return [
        segment
        for split in manifest.SPLITS
        for shard in dataset.splits[split].shards
        for segment in dataset.read_segments(shard)
    ]


def test_records_hold_the_labels_of_their_recordings(labelled: manifest.Dataset) -> None:
    found = sorted(str(segment.labels["pitch"]) for segment in read(labelled))
    assert found == sorted([*(str(60.0 + row) for row in range(12)), "None"])
    for segment in read(labelled):
        pitch = segment.labels["pitch"]
        row = int(typing.cast(float, pitch)) - 60 if pitch is not None else None
        genre = "jazz" if row is not None and row % 3 else "rock"
        assert segment.labels["mood"] == (("calm", "slow") if row and row % 2 else ())
        assert segment.labels["genre"] == (() if row is None else (genre,))


def test_batches_hold_the_labels_of_their_windows(labelled: manifest.Dataset) -> None:
    window = WindowConfig(timesteps=8)
    (batch,) = (
        pipeline.windows(labelled, "train", window, batch_size=32, seed=1).take(1)
    ).as_numpy_iterator()
    known = {segment.recording: segment.labels for segment in read(labelled)}
    for row, recording in enumerate(batch["recording"]):
        for name, value in labels.encode(labelled.labels, known[recording]).items():
            np.testing.assert_array_equal(batch[name][row], value)
            assert batch[name].dtype == value.dtype


def test_an_empty_split_has_labels_of_no_segment(labelled: manifest.Dataset) -> None:
    found = pipeline.Index(labelled, "test").labels
    assert {name: array.shape for name, array in found.items()} == {
        "label/genre": (0,),
        "label/mood": (0, 2),
        "label/pitch": (0,),
    }


def test_the_vocabulary_is_loaded(labelled: manifest.Dataset) -> None:
    loaded = manifest.load(labelled.data_dir)
    assert loaded.labels == labelled.labels
    assert loaded.labels["genre"].values == ("jazz", "rock")
    assert (loaded.labels["pitch"].minimum, loaded.labels["pitch"].maximum) == (60.0, 71.0)
    assert loaded.label_source == LabelConfig(labels="csv", labels_file="songs.csv")
    assert loaded.unused_rows == (1, ("gone",))


def test_the_summary_tells_of_labels(labelled: manifest.Dataset) -> None:
    text = inspection.describe(labelled, manifest.load_lines(labelled.data_dir))
    for line in (
        "label     genre: class, 2 values: jazz (8), rock (4); 1 of 13 recordings have none",
        "label     mood: multi, 2 values: calm (6), slow (6); 7 of 13 recordings have none",
        "label     pitch: number from 60 to 71; 1 of 13 recordings have none",
        "warning   1 label rows match no recording: gone",
    ):
        assert line in text.splitlines()


def test_a_changed_label_redoes_its_shard_only(copy: plan.Job) -> None:
    table = pathlib.Path(copy.label_source.labels_file)
    assert prepare.prepare(copy)[1] == 0
    table.write_text(table.read_text().replace("3,63,", "3,99,"))
    before = {path: path.read_bytes() for path in pathlib.Path(copy.data_dir).glob("*.tfrecord")}
    made, n_tasks = prepare.prepare(copy)
    assert n_tasks == 1
    assert sum(path.read_bytes() != content for path, content in before.items()) == 1
    assert made.labels["pitch"].maximum == 99.0
    assert list(inspection.find_problems(made, deep=True)) == []


def test_a_new_class_changes_no_other_shard(copy: plan.Job) -> None:
    table = pathlib.Path(copy.label_source.labels_file)
    table.write_text(table.read_text() + "12,,,blues\n")
    made, n_tasks = prepare.prepare(copy)
    assert n_tasks == 1
    assert made.labels["genre"].values == ("blues", "jazz", "rock")


def test_a_row_of_no_recording_redoes_nothing_but_is_counted(copy: plan.Job) -> None:
    table = pathlib.Path(copy.label_source.labels_file)
    table.write_text(table.read_text() + "a,,,\nb,,,\nc,,,\n")
    made, n_tasks = prepare.prepare(copy)
    assert (n_tasks, made.unused_rows) == (0, (4, ("gone", "a", "b")))


def test_labels_of_another_source_are_refused(copy: plan.Job) -> None:
    with pytest.raises(errors.InputError, match="a dataset with labels='csv' instead of 'none'"):
        prepare.prepare(dataclasses.replace(copy, label_source=LabelConfig()))


def test_a_good_dataset_has_no_problem(labelled: manifest.Dataset) -> None:
    assert list(inspection.find_problems(labelled, deep=True)) == []


def test_labels_that_disagree_are_found(copy: plan.Job) -> None:
    path = pathlib.Path(copy.data_dir, manifest.MANIFEST_FILE)
    path.write_text(path.read_text().replace('"pitch": 63.0', '"pitch": 72.0'))
    found = "\n".join(inspection.find_problems(manifest.describe(copy.data_dir), deep=True))
    assert "must have label pitch 72, but has 63" in found
    assert "label pitch must be" in found


def test_the_files_for_tfds_describe_the_dataset(labelled: manifest.Dataset) -> None:
    info, features = (
        json.loads(pathlib.Path(labelled.data_dir, name).read_text())
        for name in manifest.TFDS_FILES
    )
    core = "tensorflow_datasets.core.features."
    text = {"pythonClassName": f"{core}text_feature.Text", "text": {}}

    def tensor(dtype: str, encoding: str = "none", dimensions: tuple[str, ...] = ()) -> object:
        shape = {"dimensions": list(dimensions)}
        content = {"shape": shape, "dtype": dtype, "encoding": encoding}
        return {"pythonClassName": f"{core}tensor_feature.Tensor", "tensor": content}

    def group(**entries: object) -> object:
        content = {"features": entries}
        return {"pythonClassName": f"{core}features_dict.FeaturesDict", "featuresDict": content}

    moods = {"feature": text, "length": "-1"}
    sequence = {"pythonClassName": f"{core}sequence_feature.Sequence", "sequence": moods}
    assert features == group(
        frames=tensor("float16", "bytes", ("-1", "8")),
        recording=tensor("int64"),
        start_frame=tensor("int64"),
        label=group(genre=text, mood=sequence, pitch=tensor("float32")),
    )
    places = {
        name: {int(shard.name[-23:-18]): shard.records for shard in split.shards}
        for name, split in labelled.splits.items()
    }
    assert info == {
        "fileFormat": "tfrecord",
        "name": "lstm_gen",
        "version": "3.0.0",
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
                "numBytes": str(labelled.splits[name].n_bytes),
                "shardLengths": [str(places[name].get(index, 0)) for index in range(16)],
            }
            for name in ("train", "validation")
        ],
    }


def test_tfds_loads_it(labelled: manifest.Dataset) -> None:
    theirs = pytest.importorskip("tensorflow_datasets")
    builder = theirs.builder_from_directory(labelled.data_dir)
    assert set(builder.info.splits) == {"train", "validation"}
    found = {
        example["recording"]: example
        for split in builder.info.splits
        for example in builder.as_dataset(split=split).as_numpy_iterator()
    }
    segments = read(labelled)
    assert len(found) == len(segments) == 13
    for segment in segments:
        example = found[segment.recording]
        np.testing.assert_array_equal(example["frames"], segment.frames)
        assert example["frames"].dtype == segment.frames.dtype
        assert example["start_frame"] == segment.start_frame
        genre, mood, pitch = (segment.labels[name] for name in ("genre", "mood", "pitch"))
        assert example["label"]["genre"].decode() == "".join(typing.cast(tuple[str], genre))
        assert tuple(x.decode() for x in example["label"]["mood"]) == (mood or ("",))
        expected = np.nan if pitch is None else pitch
        np.testing.assert_equal(float(example["label"]["pitch"]), expected)


def test_excerpts_bring_their_labels(labelled: manifest.Dataset) -> None:
    excerpts = primers.draw_excerpts(labelled, "train", 6, 8, seed=0)
    np.testing.assert_array_equal(primers.draw(labelled, "train", 6, 8, seed=0), excerpts.frames)
    segments = [
        segment
        for shard in labelled.splits["train"].shards
        for segment in labelled.read_segments(shard)
    ]
    for place, frames in enumerate(excerpts.frames):
        (owner,) = [
            segment.labels
            for segment in segments
            if any(
                np.array_equal(labelled.normalise(segment.frames[start : start + 8]), frames)
                for start in range(len(segment.frames) - 7)
            )
        ]
        for name, values in labels.encode(labelled.labels, owner).items():
            np.testing.assert_array_equal(excerpts.labels[name][place], values)
