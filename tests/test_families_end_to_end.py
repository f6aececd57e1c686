"""Every family through the whole house: labelled recordings, a broken-off training, songs."""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
import tiny

from lstm_gen import models
from lstm_gen.cli import evaluate
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import AugmentationConfig, MonitorConfig, TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.generation import resynthesis, songs
from lstm_gen.models import base
from lstm_gen.platform import devices, errors, safetensors
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from lstm_gen.training import loop

pytestmark = pytest.mark.slow

RATE, SECONDS = 4000, 1.1
PITCHES = (57, 60, 64, 67)
PLAYERS = ("oboe", "sax")
NOTES = {"representation": "complex_stft", "n_fft": 256, "hop_length": 64, "n_bins": 64}
AUDIO = {
    "waveform_vae": {"representation": "waveform", "hop_length": 64},
    "gan": NOTES,
    "note_vae": NOTES,
}
# By XLA; their steps and their generation are compiled by the contract, a whole run in
# test_vae_trained.
LONG_TO_COMPILE = ("vae", "waveform_vae", "gan", "note_vae")
MELS = {"n_fft": 256, "hop_length": 64, "n_mels": 16}
MONITOR = MonitorConfig(
    steps_per_call=2,
    validate_every_steps=4,
    checkpoint_every_steps=4,
    sample_every_steps=8,
    sample_seconds=0.5,
    n_samples=1,
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return notes of two players, whose overtones differ, named by player and pitch."""
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(round(SECONDS * RATE)) / RATE
    for index, player in enumerate(PLAYERS):
        for pitch in PITCHES:
            turns = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time
            tone = 0.3 * np.exp(-2 * time) * (np.sin(turns) + 0.5 * np.sin((2 + index) * turns))
            soundfile.write(folder / f"{player}_{pitch}.wav", tone, RATE)
    return folder


@pytest.fixture(scope="module", params=models.classes(), ids=lambda one: one.config_class.family)
def trained(
    request: pytest.FixtureRequest,
    recordings: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, runs.Run, manifest.Dataset]]:
    """Yield a run directory of each family, trained in one go."""
    family: type[base.AudioModel] = request.param
    name = family.config_class.family
    folder = tmp_path_factory.mktemp(name)
    job = plan.Job(
        input_dir=str(recordings),
        data_dir=str(folder / "dataset"),
        plots_dir="",
        audio=AudioConfig(sample_rate=RATE, **AUDIO.get(name, MELS)),
        segment=SegmentConfig(dtype="float32", trim_db=0.0),
        split=SplitConfig(split="pattern", validation_pattern="_60"),
        label_source=LabelConfig(
            labels="pattern",
            labels_pattern=r"(?P<player>\w+)_(?P<pitch>\d+)",
            label_names="player:class,pitch:number",
        ),
    )
    dataset, _ = prepare.prepare(job, n_workers=1)
    settings = family.config_class(**tiny.FAMILY_SETTINGS[name])
    run = runs.Run(
        settings=settings,
        window=WindowConfig(timesteps=32, shift=family.target_shift(settings, 0)),
        training=TrainingConfig(
            batch_size=4, steps=8, warmup_steps=1, learning_rate=0.003, ema=0.5
        ),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
        vocabulary=dataset.labels,
        condition=("pitch", "player") if family.conditional else (),
    )
    with pytest.MonkeyPatch.context() as patched:
        if name in LONG_TO_COMPILE:
            patched.setattr(devices, "compiles_with_xla", lambda *_: False)
        train(str(folder / "whole"), run, dataset)
        yield str(folder / "whole"), run, dataset


def train(run_dir: str, run: runs.Run, dataset: manifest.Dataset) -> None:
    runs.open_or_create(run_dir, run)
    loop.train(run_dir, run, dataset, MONITOR, devices.strategy("cpu"))


def read(parent: str) -> dict[str, np.ndarray]:
    state = checkpoints.newest(parent)
    assert state is not None
    return dict(safetensors.read(f"{state.path}/state.safetensors", state.specs))


def test_a_training_that_is_broken_off_ends_as_the_whole_one(
    trained: tuple[str, runs.Run, manifest.Dataset], tmp_path: pathlib.Path
) -> None:
    """Kills at any instant are tested by tests/training/test_kills.py, of one family."""
    whole, run, dataset = trained
    broken = str(tmp_path / "run")
    shutil.copytree(whole, broken)
    for parent in (runs.checkpoints_dir, runs.model_dir):
        last = checkpoints.newest(parent(broken))
        assert last is not None
        if last.step == 8:  # as if killed before that
            shutil.rmtree(last.path)
    state = checkpoints.newest(runs.checkpoints_dir(broken))
    assert state is not None
    assert state.step == 4
    train(broken, run, dataset)
    for part in (runs.checkpoints_dir, runs.model_dir):
        expected, found = read(part(whole)), read(part(broken))
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_songs_are_as_long_as_asked_and_labels_are_heard_or_refused(
    trained: tuple[str, runs.Run, manifest.Dataset], tmp_path: pathlib.Path
) -> None:
    run_dir, run, _ = trained
    asked = GenerationConfig(n_songs=2, seconds=1.7, primer_seconds=0.2)
    if not run.family.conditional:
        with pytest.raises(errors.InputError, match="--label is for models lstm, "):
            songs.make(
                runs.load(run_dir), str(tmp_path), dataclasses.replace(asked, label=("pitch=60",))
            )
        labels_of: list[tuple[str, ...]] = [()]
    else:
        labels_of = [("pitch=57", "player=oboe"), ("pitch=67", "player=sax")]
    made = []
    for number, label in enumerate(labels_of):
        folder = tmp_path / str(number)
        paths = songs.make(runs.load(run_dir), str(folder), dataclasses.replace(asked, label=label))
        for path in paths:
            samples, rate = soundfile.read(path)
            assert rate == RATE
            assert abs(samples.size - 1.7 * RATE) <= run.audio.hop_length
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() > 0
        made.append(samples)
        told = json.loads((folder / "song-001.json").read_text())["labels"]
        if label:
            assert told == {"pitch": float(label[0][-2:]), "player": [label[1][7:]]}
    if run.family.conditional:
        assert np.abs(made[0] - made[1]).max() > 1e-3, "another label must be another song"


def test_recordings_come_back_as_long_as_they_were(
    trained: tuple[str, runs.Run, manifest.Dataset],
    recordings: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    run_dir, run, _ = trained
    clip, other = str(recordings / "oboe_57.wav"), str(recordings / "sax_67.wav")
    label = ("pitch=57", "player=oboe") if run.family.conditional else ()
    asked = GenerationConfig(
        n_songs=2, reconstruct=(clip,), perturb=0.3, transfer="player:oboe:sax", label=label
    )
    mixed = GenerationConfig(n_songs=3, interpolate=(clip, other), label=label)
    if not run.settings.priors:
        for unable in (asked, mixed):
            with pytest.raises(errors.InputError, match=r"--\w+ is for models autoencoder"):
                songs.make(runs.load(run_dir), str(tmp_path), unable)
        return
    paths = songs.make(runs.load(run_dir), str(tmp_path), asked)
    assert [pathlib.Path(path).stem for path in paths] == [
        *("oboe_57-original", "oboe_57-inverted", "oboe_57-reconstructed"),
        *("oboe_57-perturbed-000", "oboe_57-perturbed-001", "oboe_57-oboe-to-sax"),
    ]
    heard = {pathlib.Path(path).stem[8:]: soundfile.read(path)[0] for path in paths}
    assert {samples.size for samples in heard.values()} == {round(SECONDS * RATE)}
    if run.audio.representation == "waveform":
        np.testing.assert_array_equal(heard["inverted"], heard["original"])
    again = heard["reconstructed"]
    for name in ("perturbed-000", "perturbed-001", "oboe-to-sax"):
        assert np.abs(heard[name] - again).max() > 1e-4, name
    way = [
        soundfile.read(path)[0]
        for path in songs.make(runs.load(run_dir), str(tmp_path / "way"), mixed)
    ]
    assert len(way) == 3
    if run.family.conditional:
        settings = json.loads(pathlib.Path(paths[-1]).with_suffix(".json").read_text("utf-8"))
        assert settings["labels"] == {"pitch": 57.0, "player": ["sax"]}
        told = dataclasses.replace(mixed, label=("pitch=57|67", "player=oboe|sax"))
        last = soundfile.read(songs.make(runs.load(run_dir), str(tmp_path / "told"), told)[-1])[0]
        assert np.abs(last - way[-1]).max() > 1e-4, "the last recording is of another pitch"
        between = dataclasses.replace(asked, label=("pitch=57|67", "player=oboe"))
        with pytest.raises(errors.InputError, match=r"give the value of the rec|is for models"):
            songs.make(runs.load(run_dir), str(tmp_path), between)
    assert {samples.size for samples in way} == {round(SECONDS * RATE)}
    np.testing.assert_allclose(way[0], again, atol=2e-3)  # the first is the recording itself


def test_a_recording_that_nothing_is_said_of_is_refused(
    trained: tuple[str, runs.Run, manifest.Dataset], recordings: pathlib.Path
) -> None:
    _, run, _ = trained
    if not run.settings.priors or not run.family.conditional:
        pytest.skip("nothing needs to be said")
    asked = GenerationConfig(reconstruct=(str(recordings / "oboe_57.wav"),))
    with pytest.raises(errors.InputError, match=r"--label pitch=\.\.\. --label player=\.\.\."):
        list(resynthesis.generate(run, asked, "/cpu:0"))


def test_models_conditioned_on_pitch_play_melodies(
    trained: tuple[str, runs.Run, manifest.Dataset], tmp_path: pathlib.Path
) -> None:
    run_dir, run, _ = trained
    asked = GenerationConfig(melody="57:0.25,60,-:0.25,67:0.75", note_seconds=0.5)
    if not run.family.conditional or "primer" in run.family.controls:
        with pytest.raises(errors.InputError, match="--melody is for models autoencoder, vae, gan"):
            songs.make(runs.load(run_dir), str(tmp_path), asked)
        return
    (path,) = songs.make(runs.load(run_dir), str(tmp_path), asked)
    samples, _ = soundfile.read(path)
    assert samples.size == round((0.25 + 0.5 + 0.25 + 0.75 + 0.1) * RATE) + 1
    assert not samples[round(0.86 * RATE) : round(0.99 * RATE)].any(), "a rest is silent"
    assert samples[: round(0.2 * RATE)].any()
    if "between" in run.family.controls:
        several = dataclasses.replace(asked, label=("player=oboe|sax",))
        with pytest.raises(errors.InputError, match="a melody has one instrument"):
            songs.make(runs.load(run_dir), str(tmp_path), several)
    pitched = dataclasses.replace(asked, label=("pitch=60",))
    with pytest.raises(errors.InputError, match="the notes of the melody have the pitch"):
        songs.make(runs.load(run_dir), str(tmp_path), pitched)
    with pytest.raises(errors.InputError, match="pitches of the dataset, 57 to 67"):
        songs.make(runs.load(run_dir), str(tmp_path), dataclasses.replace(asked, melody="40"))


def test_notes_are_compared_with_recorded_ones(
    trained: tuple[str, runs.Run, manifest.Dataset],
    recordings: pathlib.Path,
) -> None:
    run_dir, run, _ = trained
    if run.audio.representation != "complex_stft":
        pytest.skip("no notes with phase")
    settings = EvaluationConfig(
        what="notes", run_dir=(run_dir,), input_dir=str(recordings), n_notes=6
    )
    text = evaluate.evaluate(settings, ["/cpu:0"])
    assert f"### {run_dir}" in text
    assert "| generated, trained pitches | 3 |" in text
    assert "| recorded, held-out pitches | 3 | " in text
    assert "length of every note exact: yes" in text
    for how in ("as recorded", "through frames"):
        assert f"| player | {how} | " in text
    assert "distance between draws of the same labels" in text
