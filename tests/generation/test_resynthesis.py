"""Reconstruction, interpolation and transfer, on a model that records its conditioning."""

from typing import Any

import numpy as np
import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.generation import conditioning as labelling
from lstm_gen.generation import resynthesis
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


def test_transfer_decodes_with_the_label_of_the_other_class() -> None:
    used: list[dict[str, np.ndarray]] = []
    labels = LABELS | {"label/player": np.array([0, 0])}
    moved = resynthesis.transfer(make(used), FRAMES, labels, "player", (0, 1))
    np.testing.assert_allclose(moved, FRAMES + np.arange(1, 5))
    encoded, decoded = used
    np.testing.assert_array_equal(encoded["label/player"], [0, 0])
    np.testing.assert_array_equal(decoded["label/player"], [1, 1])
    np.testing.assert_array_equal(decoded["label/pitch"], LABELS["label/pitch"])
    # A model that is not conditioned on the label gets none.
    resynthesis.transfer(make(used), FRAMES, {}, "player", (0, 1))
    assert used[-1] == {}


def test_interpolation_decodes_with_the_labels_between() -> None:
    used: list[dict[str, np.ndarray]] = []
    between = {"label/pitch": np.array([60, 62, 64])}
    way = resynthesis.interpolate(make(used), FRAMES, LABELS, labelling.fractions(3), between)
    np.testing.assert_allclose(way, [FRAMES[0], FRAMES.mean(axis=0), FRAMES[1]])
    assert used == [LABELS, between]
    assert labelling.fractions(1, single=0.5) == [0.5]
    assert labelling.fractions(1) == [0.0]


def test_latent_statistics_need_a_finished_training() -> None:
    spec = base.FrameSpec(audio=AudioConfig(n_mels=4), timesteps=4, shift=0)
    model = Autoencoder.create(AutoencoderConfig(latent_size=4, stride=1, width=4), spec)
    for asked in (model.latent_std, model.class_means):
        with pytest.raises(errors.InputError, match="finish the training first"):
            asked()
    model.priors.fit([FRAMES[0], FRAMES[1]])
    assert model.latent_std().shape == (4,)
    assert model.class_means() == {}
