"""What makes notes of noise and labels, and songs of notes, each faded into the next."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning
from lstm_gen.models.notes import crossfade, harmonic_encoding, networks, spectrogram_image
from lstm_gen.models.notes.config import NoteConfig
from lstm_gen.platform import traced_functions

_OVERLAP = 8  # part of an example that is faded into the next


class Maker(keras.Model):
    """A model that makes examples with a generator; what else it has is its family's.

    Attributes:
      size: What its parts are built for.
      pitch: The label that is a pitch; None for none.
      generator: Makes images.
    """

    def __init__(self, settings: NoteConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        spectrogram_image.require_phase(signal.audio)
        found = [one for one in signal.conditions if one.name == settings.pitch_label]
        self.pitch = found[0] if found else None
        if self.pitch is not None:
            harmonic_encoding.midi_numbers(
                self.pitch, tf.zeros([1], tf.int32)
            )  # refuses what is no pitch
        self.size = networks.Size(
            frames=signal.timesteps,
            bins=signal.audio.n_bins_resolved,
            noise=settings.noise_size,
            told=conditioning.width(signal.conditions),
            pitched=self.pitch is not None,
            width=settings.width,
        )
        self.generator = networks.Generator(self.size, name="generator")
        # What a discriminator does not heed is made up: notes came out 80 dB too quiet.
        self.quietest, self.loudest = (
            self.add_weight(
                name=name,
                shape=[],
                initializer=keras.initializers.Constant(value),
                trainable=False,
            )
            for name, value in (("quietest", -2.0), ("loudest", 2.0))
        )

    def told(self, signal: base.Signal, labels: Mapping[str, Any], count: Any) -> tuple[Any, Any]:
        """Return what is told of examples: all labels as a vector, and the grid of the pitch."""
        vector = conditioning.vector(signal.conditions, labels, count)
        if self.pitch is None:
            return vector, tf.zeros([count, self.size.bins, 0])
        midi = harmonic_encoding.midi_numbers(self.pitch, labels[f"label/{self.pitch.name}"])
        return vector, harmonic_encoding.channels(midi, signal.audio)

    def make(self, draw: Any, told: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return image and loudness, of noise float32 [examples, noise_size].

        Steps are gated, levels referred to the loudest, and an example is no louder and no quieter
        than all that it was trained on.
        """
        image, loudness = self.generator(draw, *told)
        level, step = spectrogram_image.referred(image[..., 0]), image[..., 1]
        later = tf.constant(np.arange(self.size.frames) > 0, tf.float32)[:, tf.newaxis]
        share = (loudness + 1.0) / 2.0
        loudness = self.quietest + (self.loudest - self.quietest) * share
        return tf.stack([level, step * spectrogram_image.gate(level) * later], axis=-1), loudness

    def call(self, draw: Any, told: tuple[Any, Any]) -> tuple[Any, Any]:
        """The same as `make`."""
        return self.make(draw, told)


def initialise(model: Maker, signal: base.Signal, examples: base.Examples) -> None:
    """Set how loud examples may be to what those of the training split are."""
    known = (tf.constant(batch["frames"][batch["weight"] > 0]) for batch in examples())
    found = np.concatenate([spectrogram_image.from_frames(frames, signal)[1] for frames in known])
    model.quietest.assign(found.min())
    model.loudest.assign(found.max())


def count_examples(signal: base.Signal, n_frames: int) -> int:
    """Return how many examples a song of so many frames is made of."""
    overlap = _overlap(signal)
    return max(1, -(-(n_frames - overlap) // (signal.timesteps - overlap)))


def generate(
    model: Maker,
    signal: base.Signal,
    controls: base.Controls,
    draws: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Make examples and fade each into the next; see `family.Family.generate`.

    Args:
      model: Makes examples.
      signal: What they are.
      controls: What is asked for.
      draws: What to make them of, float32 [n_songs, `count_examples`, noise_size].
      progress: Called with frames done.
    """
    hop, overlap = signal.timesteps - _overlap(signal), _overlap(signal)
    make, fade = _compiled(model, signal, controls.n_songs)
    labels = {name: tf.constant(values) for name, values in controls.labels.items()}
    done, before = [], None
    for index in range(draws.shape[1]):
        frames = make(tf.constant(draws[:, index]), labels)
        if before is None:
            done.append(frames[:, :hop].numpy())
        else:
            done += [fade(before, frames).numpy(), frames[:, overlap + 1 : hop].numpy()]
        before = frames
        is_last = index == draws.shape[1] - 1
        progress(controls.n_frames - index * hop if is_last else hop)
    return np.concatenate([*done, frames[:, hop:].numpy()], axis=1)[:, : controls.n_frames]


def _overlap(signal: base.Signal) -> int:
    """Return the frames that are faded into those of the next example."""
    return max(1, signal.timesteps // _OVERLAP)


@functools.lru_cache(maxsize=4)
def _compiled(model: Maker, signal: base.Signal, n_songs: int) -> tuple[Any, Any]:
    """Return the program that makes examples, and the one that fades one into the next."""

    def make(draw: Any, labels: Mapping[str, Any]) -> Any:
        image, loudness = model.make(draw, model.told(signal, labels, n_songs))
        return spectrogram_image.to_frames(image, loudness, signal)

    def fade(first: Any, second: Any) -> Any:
        return crossfade.fade(first, second, _overlap(signal), signal)

    return traced_functions.program(make), traced_functions.program(fade)
