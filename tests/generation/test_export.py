"""The exported generator, beside generate_songs.py, and what it refuses."""

import json
import pathlib
from typing import Any

import numpy as np
import processes
import pytest
import soundfile
import tensorflow as tf
import tiny

from lstm_gen.config.generation import GenerationConfig
from lstm_gen.generation import export, request, songs
from lstm_gen.models import base
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

ROOT = pathlib.Path(__file__).parents[2]
RATE = tiny.AUDIO.sample_rate
INPUTS = ("seed", "primer", "seconds", "temperature")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder with an untrained run, what the tool exported of it, and a clip."""
    folder = tmp_path_factory.mktemp("export")
    run = tiny.make_run(tiny.make_dataset(folder / "dataset"))
    runs.open_or_create(str(folder / "run"), run)
    runs.save_model(str(folder / "run"), run.build_model(), 7, {})
    soundfile.write(folder / "clip.wav", make_clip(), RATE, subtype="FLOAT")
    arguments = ["--run_dir=run", "--output_dir=exported/1", "--max_seconds=30"]
    result = processes.run_python(
        *("-m", "lstm_gen", "export", *arguments), cwd=folder, env={"PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, result.stderr
    assert "exported/1: signature serving_default" in result.stdout
    return folder


@pytest.fixture(scope="module")
def loaded(folder: pathlib.Path) -> Any:
    """Return the SavedModel as a server has it."""
    return tf.saved_model.load(str(folder / "exported" / "1"))


def make_clip() -> np.ndarray:
    """Return 0.7 seconds of a decaying tone, float32 [samples]."""
    seconds = np.arange(2800) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * seconds) * np.exp(-seconds)).astype(np.float32)


def serve(loaded: Any, **inputs: Any) -> np.ndarray:
    """Return what the signature gives."""
    kinds = zip(INPUTS, (tf.int32, tf.float32, tf.float32, tf.float32), strict=True)
    tensors = {name: tf.constant(inputs[name], kind) for name, kind in kinds}
    return np.asarray(loaded.signatures["serving_default"](**tensors)["waveform"])


@pytest.mark.parametrize("seconds", [0.1, 6.0])
def test_it_gives_what_generate_songs_writes(
    folder: pathlib.Path, loaded: Any, tmp_path: pathlib.Path, seconds: float
) -> None:
    asked = GenerationConfig(
        n_songs=1,
        seconds=seconds,
        seed=3,
        temperature=0.9,
        primer=str(folder / "clip.wav"),
        subtype="FLOAT",
        portable=True,
    )
    (path,) = songs.make(runs.load(str(folder / "run")), str(tmp_path), asked)
    expected, rate = soundfile.read(path, dtype="float32")
    served = serve(loaded, seed=3, primer=make_clip(), seconds=seconds, temperature=0.9)
    assert rate == RATE
    assert served.shape == expected.shape == (round(seconds * RATE / 128) * 128,)
    assert 0.01 < np.abs(expected).max() < 1
    np.testing.assert_allclose(served, expected, atol=1e-4)
    settings = json.loads(pathlib.Path(f"{path[:-4]}.json").read_text())
    assert settings["portable"]


def test_its_frames_are_those_of_the_kernels(folder: pathlib.Path) -> None:
    """Up to the inversion, whose search makes much of rounding, both ways agree as closely."""
    run = runs.load(str(folder / "run"))
    model = run.load_model()
    asked = GenerationConfig(n_songs=1, seconds=6.0, seed=5, primer=str(folder / "clip.wav"))
    primer = songs.load_primer(run, asked, "")
    expected = model.generate(request.for_model(asked, run), primer, lambda _: None)
    traced = tf.function(
        lambda frames: model.generate_in_graph(frames, expected.shape[1], 5, (1.0, 1.0, 0.0))
    )
    np.testing.assert_allclose(traced(tf.constant(primer)), expected, atol=1e-4)


def test_a_song_needs_no_primer_and_another_seed_is_another_song(loaded: Any) -> None:
    nothing = np.zeros(0, np.float32)
    first, second = (
        serve(loaded, seed=seed, primer=nothing, seconds=0.5, temperature=1.0) for seed in (1, 2)
    )
    assert np.isfinite(first).all()
    assert np.abs(first - second).max() > 1e-3


def test_there_is_one_signature_and_its_facts(folder: pathlib.Path, loaded: Any) -> None:
    (name,) = loaded.signatures
    assert name == "serving_default"
    _, inputs = loaded.signatures[name].structured_input_signature
    assert set(inputs) == set(INPUTS)
    assert set(loaded.signatures[name].structured_outputs) == {"waveform"}
    facts = json.loads((folder / "exported" / "1" / "assets.extra" / "generator.json").read_text())
    assert (facts["sample_rate"], facts["model"]) == (RATE, "lstm")


@pytest.mark.parametrize(
    "changed",
    [{"seconds": 0.0}, {"seconds": 31.0}, {"seconds": float("nan")}, {"temperature": 0.0}],
)
def test_a_request_that_does_not_fit_is_refused(loaded: Any, changed: dict[str, float]) -> None:
    inputs = {"seed": 1, "primer": make_clip(), "seconds": 1.0, "temperature": 1.0} | changed
    with pytest.raises(tf.errors.InvalidArgumentError, match="seconds must be up to 30"):
        serve(loaded, **inputs)


def test_nothing_is_overwritten(folder: pathlib.Path) -> None:
    with pytest.raises(errors.InputError, match="output_dir must be empty"):
        export.write(
            str(folder / "run"), str(folder / "exported" / "1"), GenerationConfig(), 4, 30.0
        )


def test_a_family_that_cannot_be_exported_says_so(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.load(str(folder / "run"))
    monkeypatch.setattr(run.family, "exportable", False)
    with pytest.raises(errors.InputError, match="cannot be exported"):
        export.Generator(run, run.build_model(), base.Sampling(), 4, 30.0)


@pytest.mark.parametrize("changed", [{"n_songs": 2}, {"primer": ""}, {"include_primer": True}])
def test_what_is_portable_is_one_song_of_a_clip(changed: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"n_songs": 1, "primer": "clip.wav", "portable": True} | changed
    with pytest.raises(errors.InputError, match="--portable makes an exported generator's song"):
        GenerationConfig(**asked)
