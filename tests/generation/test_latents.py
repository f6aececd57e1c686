"""What is done with latents, on a coder that notes what it is told."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstm_gen import models
from lstm_gen.generation import latents
from lstm_gen.models import base
from lstm_gen.models.latents import latent_stats, priors
from lstm_gen.platform import errors

FRAMES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
LABELS = {"label/player": np.array([0, 1]), "label/pitch": np.array([60.0, 64.0], np.float32)}


def make(told: list[dict[str, np.ndarray]]) -> latents.Trained:
    """Return a model whose latents are its frames, and which keeps the labels of both ways."""

    def encode(_: Any, __: Any, frames: np.ndarray, labels: Any) -> np.ndarray:
        told.append(dict(labels))
        return frames

    def decode(_: Any, __: Any, found: np.ndarray, n_frames: int, labels: Any) -> np.ndarray:
        told.append(dict(labels))
        return found[:, :n_frames]

    coder = base.Coder(
        encode=encode,
        decode=decode,
        spread=lambda _: np.ones(4, np.float32),
        class_means=lambda _: {"player": np.array([[0.0] * 4, [1.0, 2.0, 3.0, 4.0]])},
    )
    signal: Any = None
    return latents.Trained(dataclasses.replace(models.by_name("vae"), coder=coder), None, signal)


def test_what_is_moved_to_another_class_is_told_that_class_when_it_is_decoded() -> None:
    told: list[dict[str, np.ndarray]] = []
    labels = LABELS | {"label/player": np.array([0, 0])}
    moved = latents.transfer(make(told), FRAMES, labels, "player", (0, 1))
    np.testing.assert_allclose(moved, FRAMES + np.arange(1, 5))
    encoded, decoded = told
    np.testing.assert_array_equal(encoded["label/player"], [0, 0])
    np.testing.assert_array_equal(decoded["label/player"], [1, 1])
    np.testing.assert_array_equal(decoded["label/pitch"], LABELS["label/pitch"])
    # A model that is not told that label is told no more than before.
    latents.transfer(make(told), FRAMES, {}, "player", (0, 1))
    assert told[-1] == {}


def test_a_way_goes_from_one_end_to_the_other_told_what_lies_between() -> None:
    told: list[dict[str, np.ndarray]] = []
    between = {"label/pitch": np.array([60, 62, 64])}
    way = latents.interpolate(make(told), FRAMES, LABELS, latents.steps(3), between)
    np.testing.assert_allclose(way, [FRAMES[0], FRAMES.mean(axis=0), FRAMES[1]])
    assert told == [LABELS, between]
    assert latents.steps(1) == [0.5]


def test_what_is_found_when_training_ends_is_not_used_before() -> None:
    layer = priors.Priors(4, ("gaussian", "standard"))
    layer.build()

    class Model:
        priors = layer

    coder = latent_stats.coder(lambda *_: FRAMES, lambda *_: FRAMES)
    for asked in (coder.spread, coder.class_means):
        with pytest.raises(errors.InputError, match="finish the training first"):
            asked(Model())
    layer.fit([FRAMES[0], FRAMES[1]])
    assert coder.spread(Model()).shape == (4,)
    assert coder.class_means(Model()) == {}


def test_a_model_without_latents_says_so() -> None:
    signal: Any = None
    trained = latents.Trained(models.by_name("gan"), None, signal)
    with pytest.raises(errors.InputError, match="this model has no latents"):
        latents.reconstruct(trained, FRAMES, {})
