"""Conditioning labels of songs: given, drawn at random, and interpolated."""

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

from lstm_gen import models
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels
from lstm_gen.generation import conditioning, request
from lstm_gen.models import base
from lstm_gen.platform import errors

VOCABULARY = {
    "instrument": labels.Label(kind="class", values=("bass", "piano", "sax")),
    "pitch": labels.Label(kind="number", minimum=21.0, maximum=96.0),
    "qualities": labels.Label(kind="multi", values=("bright", "dark")),
}


def make_run(model: str = "gan") -> Any:
    """Return what these functions ask of a run."""
    condition = tuple(VOCABULARY)
    return types.SimpleNamespace(
        vocabulary=VOCABULARY,
        conditioning=VOCABULARY,
        condition=condition,
        family=models.by_name(model),
        settings=models.config_class(model)(),
        audio=AudioConfig(),
        sampling=base.Sampling,
    )


def asked(*label: str, n_songs: int = 5) -> GenerationConfig:
    return GenerationConfig(label=label, n_songs=n_songs, seed=3)


def test_a_number_goes_from_one_value_to_the_other_in_equal_steps() -> None:
    found = conditioning.of_songs(make_run(), asked("pitch=60|72", n_songs=13))
    assert [values["pitch"] for values in found] == [float(note) for note in range(60, 73)]
    assert len({values["instrument"] for values in found}) == 1  # all else in common


def test_a_class_is_part_of_either_end() -> None:
    config_of_songs = asked("instrument=sax|bass", "pitch=60")
    encoded = conditioning.encode_songs(make_run(), config_of_songs)
    bass = np.linspace(0, 1, 5)
    expected = np.stack([bass, np.zeros(5), 1 - bass], axis=1)
    np.testing.assert_allclose(encoded["label/instrument"], expected)
    np.testing.assert_array_equal(encoded["label/pitch"], [60] * 5)
    named = [values["instrument"] for values in conditioning.of_songs(make_run(), config_of_songs)]
    assert named == [("sax",)] * 3 + [("bass",)] * 2


def test_between_recordings_every_model_interpolates_labels() -> None:
    run = make_run("vae")
    way = dataclasses.replace(
        asked("pitch=60|72", "instrument=sax|bass", "qualities=dark", n_songs=1),
        interpolate=("a.wav", "b.wav"),
    )
    encoded = conditioning.encode_songs(run, way, [0.25])
    np.testing.assert_array_equal(encoded["label/pitch"], [63])
    np.testing.assert_allclose(encoded["label/instrument"], [[0.25, 0, 0.75]])


def test_one_song_is_the_first_end() -> None:
    encoded = conditioning.encode_songs(make_run(), asked("instrument=sax|bass", n_songs=1))
    np.testing.assert_array_equal(encoded["label/instrument"], [[0, 0, 1]])


def test_values_of_a_set_are_not_interpolated() -> None:
    run, both = make_run(), asked("qualities=bright|dark")
    assert conditioning.between(run, both) == {}
    np.testing.assert_array_equal(
        conditioning.encode_songs(run, both)["label/qualities"], np.ones((5, 2))
    )


def test_interpolated_songs_and_notes_of_a_melody_share_their_noise() -> None:
    run = make_run()
    way = request.for_model(asked("instrument=sax|bass"), run)
    assert way.share_noise
    assert way.labels["label/instrument"].shape == (5, 3)
    alone = asked("instrument=sax")
    assert not request.for_model(alone, run).share_noise
    assert request.for_model(alone, run, conditioning.of_songs(run, alone)).share_noise


def test_other_songs_have_draws_of_their_own() -> None:
    encoded = conditioning.encode_songs(make_run(), asked("instrument=piano"))
    assert encoded["label/instrument"].dtype == np.int64
    assert len(set(encoded["label/pitch"].tolist())) > 1


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (["pitch=900"], "pitch must lie within the dataset's, 21 to 96.*pitch=900"),
        (["pitch=-5"], "21 to 96"),
        (["pitch=60|97"], "21 to 96"),
        (["pitch=60", "pitch=61"], "pitch is given twice"),
        (["qualities=dark", "qualities=bright"], "qualities is given twice"),
        (["pitch"], "must be NAME=VALUE"),
        (
            ["tempo=3"],
            "one that the model was conditioned on in training: instrument, pitch, qualities",
        ),
    ],
)
def test_impossible_labels_are_refused(label: list[str], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        conditioning.of_songs(make_run(), asked(*label))


def test_transfer_must_agree_with_the_label() -> None:
    run = make_run()
    run.spec = types.SimpleNamespace(classes=[types.SimpleNamespace(name="instrument")])
    moved = dataclasses.replace(
        asked("instrument=sax"), reconstruct=("a.wav",), transfer="instrument:sax:bass"
    )
    assert conditioning.parse_transfer(run, moved) == ("instrument", ("sax", "bass"))
    other = dataclasses.replace(moved, label=("instrument=piano",))
    with pytest.raises(errors.InputError, match="--label instrument=sax"):
        conditioning.parse_transfer(run, other)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("instrument=sax|flute", "instrument must be one of bass, piano, sax.*flute"),
        ("pitch=60|high", "pitch must be a number"),
        ("instrument=sax|bass|piano", "must be one of"),
    ],
)
def test_ends_must_be_values_of_the_label(label: str, message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        conditioning.encode_songs(make_run(), asked(label))


def test_a_model_without_interpolation_refuses() -> None:
    run = make_run()
    run.family = types.SimpleNamespace(controls=frozenset())
    with pytest.raises(errors.InputError, match=r"is for models .*gan.*pitch=60\|72"):
        conditioning.of_songs(run, asked("pitch=60|72"))
