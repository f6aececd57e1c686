"""What makes notes of noise and labels, and songs of notes, each faded into the next."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from lstm_gen import programs
from lstm_gen.models import family
from lstm_gen.models.layers import condition, harmonics, levels, noise, players

_OVERLAP = 8  # part of an example that is faded into the next


class Settings(Protocol):
    """What a maker needs of a family's settings."""

    @property
    def noise_size(self) -> int:
        """Values of the noise that an example is made of."""

    @property
    def width(self) -> int:
        """Channels of the generator's middle."""

    @property
    def pitch_label(self) -> str:
        """The label that is a pitch, if it is among those told."""


class Maker(keras.Model):
    """A model that makes examples with a generator; what else it has is its family's.

    Attributes:
      size: What its parts are built for.
      pitch: The label that is a pitch; None for none.
      generator: Makes images.
    """

    def __init__(self, settings: Settings, signal: family.Signal, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        levels.require_phase(signal.audio)
        found = [one for one in signal.conditions if one.name == settings.pitch_label]
        self.pitch = found[0] if found else None
        if self.pitch is not None:
            harmonics.midi_numbers(self.pitch, tf.zeros([1], tf.int32))  # refuses what is no pitch
        self.size = players.Size(
            frames=signal.timesteps,
            bins=signal.audio.n_bins_resolved,
            noise=settings.noise_size,
            told=condition.width(signal.conditions),
            pitched=self.pitch is not None,
            width=settings.width,
        )
        self.generator = players.Generator(self.size, name="generator")

    def told(self, signal: family.Signal, labels: Mapping[str, Any], count: Any) -> tuple[Any, Any]:
        """Return what is told of examples: all labels as a vector, and the grid of the pitch."""
        vector = condition.vector(signal.conditions, labels, count)
        if self.pitch is None:
            return vector, tf.zeros([count, self.size.bins, 0])
        midi = harmonics.midi_numbers(self.pitch, labels[f"label/{self.pitch.name}"])
        return vector, harmonics.channels(midi, signal.audio)

    def make(self, draw: Any, told: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return image and loudness, of noise float32 [examples, noise_size]; steps are gated."""
        image, loudness = self.generator(draw, *told)
        level, step = image[..., 0], image[..., 1]
        later = tf.constant(np.arange(self.size.frames) > 0, tf.float32)[:, tf.newaxis]
        return tf.stack([level, step * levels.gate(level) * later], axis=-1), loudness

    def call(self, draw: Any, told: tuple[Any, Any]) -> tuple[Any, Any]:
        """The same as `make`."""
        return self.make(draw, told)


def generate(
    model: Maker,
    signal: family.Signal,
    controls: family.Controls,
    progress: Callable[[int], None],
    draw: Callable[[Any, Any], Any] = lambda normal, _: normal,
) -> np.ndarray:
    """Make examples and fade each into the next; see `family.Family.generate`.

    Args:
      model: Makes examples.
      signal: What they are.
      controls: What is asked for; temperature is a factor on the noise.
      progress: Called with frames done.
      draw: From standard normal noise, float32 [examples, values], and what is told as a vector to
        what the model makes examples of; one function for as long as the model lives.
    """
    length, overlap = signal.timesteps, max(1, signal.timesteps // _OVERLAP)
    make, fade = _compiled(model, signal, controls.n_songs, controls.alike, draw)
    first_row = 0 if controls.alike else controls.first_song
    seed = noise.seed_from(controls.seed, noise.SONGS, first_row)
    labels = {name: tf.constant(values) for name, values in controls.labels.items()}
    temperature = tf.constant(controls.temperature)
    done, tail = [], None
    for start in range(0, max(1, controls.n_frames - overlap), length - overlap):
        frames = make(seed, tf.constant(start // (length - overlap)), temperature, labels)
        if tail is not None:
            done.append(fade(tail, frames[:, :overlap]).numpy())
            frames = frames[:, overlap:]
        done.append(frames[:, :-overlap].numpy())
        tail = frames[:, -overlap:]
        progress(min(length - overlap, controls.n_frames - start))
    return np.concatenate([*done, np.asarray(tail)], axis=1)[:, : controls.n_frames]


@functools.lru_cache(maxsize=4)
def _compiled(
    model: Maker,
    signal: family.Signal,
    n_songs: int,
    alike: bool,
    draw: Callable[[Any, Any], Any],
) -> tuple[Any, Any]:
    """Return the program that makes examples, and the one that fades one into the next."""
    n_bins = signal.audio.n_bins_resolved

    def make(seed: Any, index: Any, temperature: Any, labels: Mapping[str, Any]) -> Any:
        shape = [1 if alike else n_songs, model.size.noise]
        normal = temperature * noise.normal(shape, noise.seed_for(seed, index))
        told = model.told(signal, labels, n_songs)
        drawn = draw(tf.broadcast_to(normal, [n_songs, model.size.noise]), told[0])
        image, loudness = model.make(drawn, told)
        return levels.to_frames(image, loudness, signal)

    def fade(first: Any, second: Any) -> Any:
        count = first.shape[1]
        share = tf.constant((np.arange(count) + 1) / (count + 1), tf.float32)[:, tf.newaxis]
        first, second = first * signal.std + signal.mean, second * signal.std + signal.mean
        old = first[..., :n_bins] + tf.math.log(1.0 - share)
        new = second[..., :n_bins] + tf.math.log(share)
        power = tf.reduce_logsumexp(tf.stack([old, new]), axis=0)
        weight = tf.exp(new - power)
        steps = (1.0 - weight) * first[..., n_bins:] + weight * second[..., n_bins:]
        return (tf.concat([power, steps], axis=-1) - signal.mean) / signal.std

    return programs.program(make), programs.program(fade)
