import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import processes
import pytest
import soundfile
import tiny
import tqdm

from lstm_gen.audio import representations
from lstm_gen.config import fields
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.generation import output, request, rollout, songs
from lstm_gen.models import base
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

RATE, HOP = tiny.AUDIO.sample_rate, tiny.AUDIO.hop_length
Bars = dict[str, tuple[int, int]]


def record_bars(patch: pytest.MonkeyPatch) -> Bars:
    """Return a dictionary that gets what each progress bar reached, and its total."""
    bars: Bars = {}

    class Bar(tqdm.tqdm):
        def close(self) -> None:
            bars[self.desc.removesuffix(": ")] = self.n, self.total
            super().close()

    patch.setattr(tqdm, "tqdm", Bar)
    return bars


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, dataset: manifest.Dataset) -> str:
    """Return a run whose model was never trained, which is enough to be heard."""
    path, run = str(tmp_path_factory.mktemp("runs") / "run"), tiny.make_run(dataset)
    runs.open_or_create(path, run)
    runs.save_model(path, run.build_model(), 7, {})
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a recording of 1.5 seconds, in stereo and at another rate."""
    path = tmp_path_factory.mktemp("clip") / "clip.flac"
    seconds = np.arange(12_000) / 8000
    tone = 0.3 * np.sin(2 * np.pi * 440 * seconds) * np.exp(-seconds)
    soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), 8000)
    return path


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, run_dir: str
) -> tuple[pathlib.Path, list[str], Bars]:
    """Return a folder with two songs of a second, their paths and the progress bars."""
    folder = tmp_path_factory.mktemp("songs")
    asked = GenerationConfig(n_songs=2, seconds=1.0, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        bars = record_bars(patch)
        return folder, songs.make(runs.load(run_dir), str(folder), asked, show_progress=True), bars


def test_each_song_is_a_sound_a_picture_and_its_settings(
    made: tuple[pathlib.Path, list[str], Bars], run_dir: str
) -> None:
    folder, paths, bars = made
    assert paths == [str(folder / f"song-00{index}.wav") for index in range(2)]
    assert sorted(path.name for path in folder.iterdir()) == [
        f"song-00{index}.{suffix}" for index in range(2) for suffix in ("json", "png", "wav")
    ]
    n_frames = round(RATE / HOP)
    assert bars == {"generating": (n_frames, n_frames), "inverting": (2, 2)}
    digests = set()
    for index, path in enumerate(paths):
        samples, rate = soundfile.read(path)
        assert rate == RATE
        assert samples.shape == (round(RATE / HOP) * HOP,)
        assert abs(len(samples) - RATE) <= HOP
        assert 0 < np.abs(samples).max() < 1
        assert (folder / f"song-00{index}.png").read_bytes().startswith(b"\x89PNG")
        settings = json.loads((folder / f"song-00{index}.json").read_text())
        digests.add(settings.pop("frames_sha256"))
        asked = GenerationConfig(n_songs=2, seconds=1.0, seed=3)
        expected = json.loads(fields.to_json(fields.to_dict(asked)))
        drawn: dict[str, Any] = {"song": index, "attempt": 0, "temperature": 1, "sigma_scale": 1}
        drawn |= {"neighbour_weight": 0, "run_dir": run_dir, "step": 7, "labels": {}}
        assert settings == expected | drawn
    assert len(digests) == 2


def test_the_same_seed_makes_the_same_songs(
    made: tuple[pathlib.Path, list[str], Bars], run_dir: str, tmp_path: pathlib.Path
) -> None:
    asked = GenerationConfig(n_songs=2, seconds=1.0, seed=3)
    for old, new in zip(made[1], songs.make(runs.load(run_dir), str(tmp_path), asked), strict=True):
        assert pathlib.Path(old).read_bytes() == pathlib.Path(new).read_bytes()


SPLIT = """
import pathlib, sys
import tensorflow as tf
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.generation import songs
from lstm_gen.platform import devices as found
run_dir, folder = sys.argv[1:]
from lstm_gen.runs import run as runs
devices = found.devices("cpu", 2)
asked = GenerationConfig(n_songs=4, songs_at_once=2, seconds=1.0, seed=3)
songs.make(runs.load(run_dir), folder, asked, devices=devices)
"""


def test_any_devices_and_processes_make_the_same_songs(
    run_dir: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = processes.run_python("-c", SPLIT, run_dir, tmp_path / "two")
    assert split.returncode == 0, split.stderr
    asked = GenerationConfig(n_songs=4, songs_at_once=2, seconds=1.0, seed=3)
    songs.make(runs.load(run_dir), str(tmp_path / "one"), asked)
    for index, names in enumerate((["0", "1"], ["2", "3"])):
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": task}
        monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
        paths = songs.make(runs.load(run_dir), str(tmp_path / "processes"), asked)
        assert [pathlib.Path(path).stem for path in paths] == [f"song-00{n}" for n in names]
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": task})
    )
    few = dataclasses.replace(asked, songs_at_once=4)
    assert songs.make(runs.load(run_dir), str(tmp_path / "none"), few) == [], (
        "the other process has them all"
    )
    folders = [tmp_path / name for name in ("one", "two", "processes")]
    for index in range(4):
        one, *others = [(each / f"song-00{index}.wav").read_bytes() for each in folders]
        assert others == [one, one]


def test_bfloat16_songs_start_as_those_of_float32_do(run_dir: str) -> None:
    run = runs.load(run_dir)
    primer = songs.load_primer(run, GenerationConfig(), run.data_dir)
    asked = base.GenerationRequest(n_songs=4, n_frames=3, sigma_scale=0.0)
    exact, coarse = (
        rollout.roll_out(run, asked, primer, [range(4)], ["/cpu:0"], compute)
        for compute in ("float32", "bfloat16")
    )
    for index, (frames, _) in coarse.items():
        assert frames.dtype == np.float32
        assert np.any(frames != exact[index].frames)
        np.testing.assert_allclose(frames, exact[index].frames, atol=0.03)
    assert run.load_model().compute_dtype == "float32"


def test_a_clip_is_used_whole_and_stands_in_front(
    run_dir: str, clip: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run = runs.load(run_dir)
    asked = GenerationConfig(n_songs=3, seconds=0.5, primer=str(clip), include_primer=True)
    primer = songs.load_primer(run, asked, "no dataset is needed")
    n_primer = 1 + 6000 // HOP  # 1.5 seconds at 4000 Hz
    assert primer.shape == (3, n_primer, tiny.AUDIO.n_mels)
    np.testing.assert_array_equal(primer[0], primer[2])
    seconds = np.arange(6000) / RATE
    heard = 0.75 * 0.3 * np.sin(2 * np.pi * 440 * seconds) * np.exp(-seconds)
    expected = run.normalisation.apply(representations.extract(heard.astype(np.float32), run.audio))
    loud = representations.extract(heard.astype(np.float32), run.audio) > -4
    np.testing.assert_allclose(primer[0][loud], expected[loud], atol=0.1)
    paths = songs.make(runs.load(run_dir), str(tmp_path), asked, data_dir="/missing")
    assert [soundfile.info(path).frames for path in paths] == [(n_primer + 16) * HOP] * 3


def test_a_short_primer_is_enough(run_dir: str, tmp_path: pathlib.Path) -> None:
    soundfile.write(tmp_path / "click.wav", [0.5], RATE)
    asked = GenerationConfig(n_songs=1, seconds=0.1, primer=str(tmp_path / "click.wav"))
    assert (
        soundfile.info(songs.make(runs.load(run_dir), str(tmp_path / "songs"), asked)[0]).frames
        == 3 * HOP
    )
    run = runs.load(run_dir)
    tiny_excerpt = GenerationConfig(n_songs=2, primer_seconds=1e-4)
    assert songs.load_primer(run, tiny_excerpt, run.data_dir).shape[:2] == (2, 1)


@pytest.mark.parametrize(
    ("asked", "container", "subtype"),
    [
        ({"subtype": "PCM_16"}, "WAV", "PCM_16"),
        ({"subtype": "PCM_24"}, "WAV", "PCM_24"),
        ({"subtype": "FLOAT"}, "WAV", "FLOAT"),
        ({"format": "flac", "subtype": "PCM_24"}, "FLAC", "PCM_24"),
        ({"format": "ogg"}, "OGG", "VORBIS"),
        ({"inversion": "griffin_lim"}, "WAV", "PCM_16"),
    ],
)
def test_files_are_of_the_asked_kind_and_length_and_do_not_clip(
    tmp_path: pathlib.Path, run_dir: str, asked: dict[str, Any], container: str, subtype: str
) -> None:
    loud = tiny.make_frames(20, 1) + 12
    settings = GenerationConfig(**asked)
    assert np.abs(output.invert(loud, tiny.AUDIO, settings)).max() > 2, "the test must be loud"
    samples = output.invert(loud, tiny.AUDIO, settings)
    sound = output.Sound("song", loud, samples, {})
    path = output.write(str(tmp_path), sound, runs.load(run_dir), settings)
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.channels) == (container, subtype, 1)
    assert (info.samplerate, info.frames) == (RATE, 20 * HOP)
    samples, _ = soundfile.read(path)
    lossy = 0.15 if container == "OGG" else 1e-4
    assert np.abs(samples).max() == pytest.approx(0.999, abs=lossy)
    assert np.mean(np.abs(samples) > 0.998) < 0.01


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_songs": 0}, "n_songs must be at least 1"),
        ({"songs_at_once": 0}, "songs_at_once must be at least 1"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"seconds": float("inf")}, "seconds must be above 0.*inf"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"sigma_scale": -0.1}, "sigma_scale must be at least 0"),
        ({"primer_seconds": 0.0}, "primer_seconds must be above 0"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 1 << 31}, "seed must be from 0"),
        ({"format": "aac"}, "format must be one of wav, flac, ogg, mp3"),
        ({"subtype": "PCM_8"}, "subtype must be one of"),
        ({"inversion": "wavenet"}, "inversion must be one of joint, griffin_lim"),
        ({"inversion_quality": "best"}, "inversion_quality must be one of preview"),
        ({"format": "flac", "subtype": "FLOAT"}, "FLAC holds integers"),
        ({"note_seconds": math.inf}, "note_seconds must be above 0 s"),
        (
            {"melody": "60", "reconstruct": ("a.wav",)},
            "only one of.*--melody --reconstruct",
        ),
        (
            {"interpolate": ("a.wav", "b.wav"), "reconstruct": ("c.wav",)},
            "only one of .* can be given",
        ),
        ({"interpolate": ("a.wav",)}, "interpolate takes two recordings"),
        ({"reconstruct": ("a.wav",), "prior": "gmm"}, "prior is for songs"),
        (
            {"portable": True, "n_songs": 1, "primer": "a.wav", "inversion": "griffin_lim"},
            "no --include_primer, --inversion or --precision",
        ),
        ({"reconstruct": ("old/a.wav", "new/a.flac")}, "must differ in their names"),
    ],
)
def test_invalid_settings_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        GenerationConfig(**changed)


def test_a_primer_that_is_no_recording_is_refused(run_dir: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.wav").write_text("do re mi")
    (tmp_path / "empty.wav").touch()
    for name in ("missing.wav", "notes.wav", "empty.wav", "."):
        asked = GenerationConfig(primer=str(tmp_path / name))
        with pytest.raises(errors.InputError, match=r"Received: path="):
            songs.make(runs.load(run_dir), str(tmp_path / "songs"), asked)
    assert not (tmp_path / "songs").exists()


def test_a_dataset_that_is_gone_or_another_is_refused(run_dir: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InputError, match="must hold a finished dataset"):
        songs.make(runs.load(run_dir), str(tmp_path), GenerationConfig(), data_dir=str(tmp_path))
    other = tiny.make_dataset(tmp_path / "other", train=[tiny.make_frames(60, 9)])
    with pytest.raises(errors.InputError, match="must be the one that the run was trained on"):
        songs.make(runs.load(run_dir), str(tmp_path), GenerationConfig(), data_dir=other.data_dir)
    moved = tiny.make_dataset(tmp_path / "moved")
    asked = GenerationConfig(n_songs=1)
    run = runs.load(run_dir)
    np.testing.assert_array_equal(
        songs.load_primer(run, asked, moved.data_dir), songs.load_primer(run, asked, run.data_dir)
    )


def test_a_run_without_weights_is_refused(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    runs.open_or_create(str(tmp_path / "run"), tiny.make_run(dataset))
    with pytest.raises(errors.InputError, match="must hold trained weights"):
        songs.make(runs.load(str(tmp_path / "run")), str(tmp_path / "songs"), GenerationConfig())


def test_songs_do_not_land_in_the_dataset_or_the_run(
    dataset: manifest.Dataset, run_dir: str
) -> None:
    data_dir = pathlib.Path(dataset.data_dir)
    folders = [data_dir, data_dir / "songs" / "new", pathlib.Path(run_dir)]
    before = [sorted(folder.iterdir()) for folder in (data_dir, folders[-1])]
    for folder, what in zip(folders, ("a dataset", "in the dataset", "a run"), strict=True):
        with pytest.raises(errors.InputError, match=f"a directory for songs, and this is {what}"):
            songs.make(runs.load(run_dir), str(folder), GenerationConfig(n_songs=1))
    assert before == [sorted(folder.iterdir()) for folder in (data_dir, folders[-1])]


def test_songs_do_not_land_among_recordings(
    run_dir: str, clip: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """They would be taken for recordings by the next preparation."""
    given = GenerationConfig(n_songs=1, primer=str(clip))
    with pytest.raises(errors.InputError, match="the folder of an input recording"):
        songs.make(runs.load(run_dir), str(clip.parent), given)
    dataset = tiny.make_dataset(tmp_path / "dataset")
    lines = [{"name": name, "verdict": "ok"} for name in ("a.wav", "solo/b.wav")]
    manifest.save_lines(dataset.data_dir, [{"name": "x.pdf", "verdict": "not_audio"}, *lines])
    for name in ("in/a.wav", "in/solo/b.wav", "alone/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    run, asked = tiny.make_run(dataset), GenerationConfig()
    for folder in ("in", "in/solo", "in/songs/new"):
        with pytest.raises(errors.InputError, match="among the recordings that the model was"):
            request.require_separate_output(str(tmp_path / folder), run, asked)
    request.require_separate_output(
        str(tmp_path / "alone"), run, asked
    )  # one of that name is chance
    (tmp_path / "dataset" / manifest.MANIFEST_FILE).write_text("{")
    nowhere = dataclasses.replace(asked, primer="gs://no-object-at-all")
    request.require_separate_output(
        str(tmp_path / "in"), run, nowhere
    )  # nothing is known of the dataset


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prior": "gmm"}, "--prior is for models autoencoder, vae.*prior='gmm'"),
        ({"interpolate": ("a.wav", "b.wav")}, "--interpolate is for models .*a.wav,b.wav"),
        ({"melody": "60"}, "--melody is for models autoencoder, vae, gan, note_vae"),
        (
            {"portable": True, "n_songs": 1, "primer": "a.wav", "prior": "gmm"},
            "--prior is for models",
        ),
        ({"label": ("pitch=60",)}, "it was trained without --condition"),
    ],
)
def test_unsupported_options_are_refused(
    changed: dict[str, Any], message: str, run_dir: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.InputError, match=message):
        songs.make(runs.load(run_dir), str(tmp_path / "songs"), GenerationConfig(**changed))
