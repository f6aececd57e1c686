"""Changes of dataset, settings or run directory against what has been trained."""

import copy
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen import models
from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.notes.config import GANConfig
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig
from lstm_gen.platform import errors
from lstm_gen.runs import checkpoints, lease
from lstm_gen.runs import run as runs
from lstm_gen.training import state

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def run_dir(tmp_path: pathlib.Path, dataset: manifest.Dataset) -> str:
    """Return a run that has one state and weights."""
    path, run = str(tmp_path / "run"), tiny.make_run(dataset)
    runs.open_or_create(path, run)
    made = state.State(path, run, dataset, STRATEGY, lease.Lease())
    made.save(keep=1)
    made.save_model({})
    return path


def restore(run_dir: str, run: runs.Run, dataset: manifest.Dataset) -> bool:
    return state.State(run_dir, run, dataset, STRATEGY, lease.Lease()).restore()


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("settings", {"dropout": 0.5}, "settings.dropout"),
    ("settings", {"input_noise": 0.5}, "settings.input_noise"),
    ("settings", {"sigma_floor": 0.5}, "settings.sigma_floor"),
    ("settings", {"patch_components": 4}, "settings.patch_components"),
    ("settings", {"stored_patches": 9}, "settings.stored_patches"),
    ("window", {"timesteps": 9}, "window.timesteps"),
    ("window", {"shift": 2}, "window.shift"),
    ("window", {"window_hop": 3}, "window.window_hop"),
    ("training", {"seed": 1}, "training.seed"),
    ("training", {"batch_size": 8}, "training.batch_size"),
    ("training", {"learning_rate": 0.5}, "training.learning_rate"),
    ("training", {"clip_norm": 0.5}, "training.clip_norm"),
    ("training", {"accumulate": 2}, "training.accumulate"),
    ("augmentation", {"gain_db": 1.0}, "augmentation.gain_db"),
    ("audio", {"hop_length": 64}, "dataset.audio.hop_length"),
    ("audio", {"fmin_hz": 20.0}, "dataset.audio.fmin_hz"),
    ("fingerprint", {}, "dataset.fingerprint"),
    # Not a change of settings alone: the first variable that differs is named.
    ("settings", {"units": 16}, "settings.units"),
    ("settings", {"layers": 2}, "settings.layers"),
    ("settings", {"head": "mse"}, "settings.head"),
    ("training", {"ema": 0.9}, "training.ema"),
]


def changed(run: runs.Run, part: str, fields: dict[str, Any]) -> runs.Run:
    if part == "fingerprint":
        return dataclasses.replace(run, fingerprint="0" * 64)
    other: Any = {part: dataclasses.replace(getattr(run, part), **fields)}
    return dataclasses.replace(run, **other)


@pytest.mark.parametrize(("part", "fields", "named"), CHANGES, ids=[c[2] for c in CHANGES])
def test_a_changed_run_is_refused_naming_the_field(
    run_dir: str, dataset: manifest.Dataset, part: str, fields: dict[str, Any], named: str
) -> None:
    other = changed(tiny.make_run(dataset), part, fields)
    with pytest.raises(errors.InputError, match=named) as refused:
        runs.open_or_create(run_dir, other)
    assert "\n" not in str(refused.value)
    # And its states refuse, should config.json have been changed or replaced.
    pathlib.Path(run_dir, "config.json").unlink()
    with pytest.raises(errors.InputError) as refused:
        restore(run_dir, other, dataset)
    assert named in str(refused.value) or "are not this model's: " in str(refused.value)


def test_more_steps_and_a_moved_dataset_are_no_other_run(
    run_dir: str, dataset: manifest.Dataset
) -> None:
    run = changed(tiny.make_run(dataset), "training", {"steps": 99})
    assert restore(run_dir, dataclasses.replace(run, data_dir="/elsewhere"), dataset)


def test_a_training_of_an_earlier_version_goes_on_frame_by_frame(
    run_dir: str, dataset: manifest.Dataset
) -> None:
    """Its settings know nothing of patches, nor do its weights."""
    path = pathlib.Path(run_dir, "config.json")
    values = json.loads(path.read_text())
    for name in (*LSTMConfig.added, "noise_size", "head_blocks"):
        del values["settings"][name]
    path.write_text(json.dumps(values))
    run = runs.load(run_dir)
    assert run.settings == tiny.SETTINGS
    assert run.window.shift == 1
    weights = checkpoints.newest(runs.model_dir(run_dir), run.weight_specs())
    assert weights is not None
    assert {name.split("/")[1] for name in weights.specs} == {"lstm_0", "norm_1", "head", "bound"}
    run.load_model()
    assert restore(run_dir, run, dataset)
    assert runs.open_or_create(run_dir, tiny.make_run(dataset))
    assert runs.as_current(values, "there") == runs.as_dict(tiny.make_run(dataset))


def test_another_topology_is_a_warning(
    run_dir: str, dataset: manifest.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    two = tf.distribute.MirroredStrategy(["/cpu:0"])
    again = state.State(run_dir, tiny.make_run(dataset), dataset, two, lease.Lease())
    assert again.restore()
    assert "OneDeviceStrategy" in caplog.text
    assert "continues on {'strategy': 'MirroredStrategy', 'replicas': 1}" in caplog.text


def test_a_state_says_where_its_input_is(run_dir: str, dataset: manifest.Dataset) -> None:
    run = tiny.make_run(dataset)
    made = state.State(run_dir, run, dataset, STRATEGY, lease.Lease())
    made.progress.step = 7
    made.save(keep=1)
    found = checkpoints.newest(runs.checkpoints_dir(run_dir))
    assert found is not None
    # 60 and 50 frames in windows of 9, a timestep of 8 apart: 7 and 6; 28 windows are 2 epochs.
    assert found.facts["input"] == {"seed": 0, "epoch": 2, "step": 7}


@pytest.mark.parametrize("left", ["model", "logs", "samples"])
def test_a_run_that_lost_its_states_does_not_begin_in_silence(
    tmp_path: pathlib.Path, dataset: manifest.Dataset, left: str
) -> None:
    (tmp_path / left).mkdir()
    run = tiny.make_run(dataset)
    assert not restore(str(tmp_path), run, dataset)
    (tmp_path / left / "step-00000003").mkdir()
    with pytest.raises(errors.InputError, match=rf"--fresh\. Received: .*found='{left}/step-0000"):
        restore(str(tmp_path), run, dataset)


def test_clearing_deletes_what_training_made_and_says_so(run_dir: str) -> None:
    folder = pathlib.Path(run_dir)
    (folder / "notes.txt").write_text("mine")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "precious").touch()
    (folder / "logs").symlink_to(folder / "elsewhere")
    assert runs.clear(run_dir) == [
        f"deleted {run_dir}/checkpoints: step-00000000",
        f"deleted {run_dir}/model: step-00000000",
        f"deleted {run_dir}/logs",
        f"deleted {run_dir}/config.json",
    ]
    left = sorted(path.name for path in folder.rglob("*"))
    assert left == [lease.FILE, "elsewhere", "notes.txt", "precious"]
    assert runs.clear(run_dir) == []
    assert runs.clear(str(folder / "missing")) == []


def test_a_run_at_work_is_not_cleared(run_dir: str) -> None:
    with lease.hold(run_dir), pytest.raises(errors.InputError, match="another train_model"):
        runs.clear(run_dir)
    assert checkpoints.newest(runs.checkpoints_dir(run_dir)) is not None


AUDIOS = {  # of families that do not read log_mel
    "complex_stft": AudioConfig(representation="complex_stft", n_fft=256, hop_length=64),
    "waveform": AudioConfig(representation="waveform", hop_length=64),
}


def test_the_shape_of_a_model_is_known_without_building_it(dataset: manifest.Dataset) -> None:
    for family in models.classes():
        settings = family.config_class()
        run = dataclasses.replace(
            tiny.make_run(dataset),
            settings=settings,
            window=dataclasses.replace(tiny.WINDOW, shift=family.target_shift(settings, 0)),
            audio=AUDIOS.get(family.representations[0], tiny.AUDIO),
        )
        built = checkpoints.specs_of(checkpoints.variables_of(model=run.build_model()))
        assert run.weight_specs() == built


@pytest.mark.parametrize(
    ("config_class", "removed"),
    [(WaveformVAEConfig, {"norm": "none"}), (GANConfig, {"loss": "non_saturating"})],
)
def test_a_checkpoint_of_an_earlier_version_is_of_the_same_run(
    dataset: manifest.Dataset, config_class: Any, removed: dict[str, str]
) -> None:
    """Its settings had a field that is gone, and its training lacked one that is new."""
    family = models.by_name(config_class.family)
    audio = AUDIOS[family.representations[0]]
    run = dataclasses.replace(
        tiny.make_run(dataset),
        settings=config_class(),
        window=dataclasses.replace(tiny.WINDOW, shift=0),
        audio=audio,
        normalisation=normalisation.Normalisation(
            mean=np.zeros(audio.channels, np.float32), std=np.ones(audio.channels, np.float32)
        ),
    )
    asked = runs.as_dict(run)
    written = copy.deepcopy(asked)
    written["settings"] |= removed
    del written["training"]["ema"]
    runs.require_same(runs.as_current(written, "there"), asked, "there")
    written["settings"] |= dict.fromkeys(removed, "other")
    with pytest.raises(errors.InputError, match=f"there.*: {next(iter(removed))} can only be"):
        runs.as_current(written, "there")
