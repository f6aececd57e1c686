"""Reconstruction, interpolation and transfer, on a model that records its conditioning."""

from typing import Any

import numpy as np
import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.generation import latents
from lstm_gen.models import base
from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.models.autoencoder.model import Autoencoder
from lstm_gen.platform import errors

FRAMES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
LABELS = {"label/player": np.array([0, 1]), "label/pitch": np.array([60.0, 64.0], np.float32)}


def make(conditioning: list[dict[str, np.ndarray]]) -> Any:
    """Return a model whose latents are its frames, and which keeps the labels of both ways."""

    class Identity:
        def encode(self, frames: np.ndarray, labels: Any) -> np.ndarray:
            conditioning.append(dict(labels))
            return frames

        def decode(self, latents: np.ndarray, n_frames: int, labels: Any) -> np.ndarray:
            conditioning.append(dict(labels))
            return latents[:, :n_frames]

        def latent_std(self) -> np.ndarray:
            return np.ones(4, np.float32)

        def class_means(self) -> dict[str, np.ndarray]:
            return {"player": np.array([[0.0] * 4, [1.0, 2.0, 3.0, 4.0]])}

    return Identity()


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
    spec = base.FrameSpec(audio=AudioConfig(n_mels=4), timesteps=4, shift=0)
    model = Autoencoder.create(AutoencoderConfig(latent_size=4, stride=1, width=4), spec)
    for asked in (model.latent_std, model.class_means):
        with pytest.raises(errors.InputError, match="finish the training first"):
            asked()
    model.priors.fit([FRAMES[0], FRAMES[1]])
    assert model.latent_std().shape == (4,)
    assert model.class_means() == {}
