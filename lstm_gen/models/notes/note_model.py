"""Base class of the families that generate notes from noise and labels."""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning
from lstm_gen.models.notes import crossfade, harmonic_encoding, networks, spectrogram_image
from lstm_gen.models.notes.config import NoteConfig
from lstm_gen.platform import traced_functions

_OVERLAP = 8  # an eighth of an example is crossfaded into the next


class NoteModel(base.AudioModel):
    """A model with a generator of examples, spectrogram images with phase.

    Attributes:
      pitch: Conditioning label that is a pitch; None for none.
      size: Sizes of the networks.
      generator: Network from noise and labels to images.
    """

    representations = ("complex_stft",)
    conditional = True

    def __init__(self, config: NoteConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        spectrogram_image.require_phase(spec.audio)
        found = [one for one in spec.conditions if one.name == config.pitch_label]
        self.pitch = found[0] if found else None
        if self.pitch is not None:  # raises for labels that are not pitches
            harmonic_encoding.midi_numbers(self.pitch, tf.zeros([1], tf.int32))
        self.size = networks.Size(
            frames=spec.timesteps,
            bins=spec.audio.n_bins_resolved,
            noise=config.noise_size,
            cond=conditioning.width(spec.conditions),
            pitched=self.pitch is not None,
            width=config.width,
        )
        self.generator = networks.Generator(self.size, name="generator")
        # A discriminator hardly constrains loudness: without bounds notes were 80 dB too quiet.
        self.quietest, self.loudest = (
            self.add_weight(
                name=name,
                shape=[],
                initializer=keras.initializers.Constant(value),
                trainable=False,
            )
            for name, value in (("quietest", -2.0), ("loudest", 2.0))
        )

    def conditioning(self, labels: Mapping[str, Any], count: Any) -> tuple[Any, Any]:
        """Return the conditioning of examples: all labels as a vector, and the pitch's harmonics.

        Both are float32, [examples, width] and [examples, bins, channels of the encoding].
        """
        vector = conditioning.vector(self.spec.conditions, labels, count)
        if self.pitch is None:
            return vector, tf.zeros([count, self.size.bins, 0])
        midi = harmonic_encoding.midi_numbers(self.pitch, labels[f"label/{self.pitch.name}"])
        return vector, harmonic_encoding.encode(midi, self.spec.audio)

    def make(self, noise: Any, conditioning: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return image and loudness of examples, from noise float32 [examples, noise_size].

        Phase steps are gated, levels relative to the loudest bin, and the loudness within the range
        of the training examples.
        """
        image, loudness = self.generator(noise, *conditioning)
        level, step = spectrogram_image.peak_normalised(image[..., 0]), image[..., 1]
        later = tf.constant(np.arange(self.size.frames) > 0, tf.float32)[:, tf.newaxis]
        fraction = (loudness + 1.0) / 2.0
        loudness = self.quietest + (self.loudest - self.quietest) * fraction
        return tf.stack([level, step * spectrogram_image.gate(level) * later], axis=-1), loudness

    def call(self, noise: Any, conditioning: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return `make`'s image and loudness."""
        return self.make(noise, conditioning)

    def initialise(self, examples: base.Examples) -> None:
        """Set the range of loudness to that of the training examples."""
        real = (tf.constant(batch["frames"][batch["weight"] > 0]) for batch in examples())
        found = [spectrogram_image.from_frames(frames, self.spec)[1] for frames in real]
        loudness = np.concatenate(found)
        self.quietest.assign(loudness.min())
        self.loudest.assign(loudness.max())

    @property
    def overlap(self) -> int:
        """Frames of an example that are crossfaded into the next."""
        return max(1, self.spec.timesteps // _OVERLAP)

    def count_examples(self, n_frames: int) -> int:
        """Return the examples that a song of so many frames consists of."""
        overlap = self.overlap
        return max(1, -(-(n_frames - overlap) // (self.spec.timesteps - overlap)))

    def generate_from(
        self, noise: np.ndarray, request: base.GenerationRequest, progress: base.Progress
    ) -> np.ndarray:
        """Generate examples and crossfade each into the next; see `base.AudioModel.generate`.

        Args:
          noise: Noise of the examples, float32 [n_songs, `count_examples`, noise_size].
          request: The songs to generate.
          progress: Called with the frames done since the last call.
        """
        overlap = self.overlap
        hop = self.spec.timesteps - overlap
        make, fade = self._programs
        labels = {name: tf.constant(values) for name, values in request.labels.items()}
        done, before = [], None
        for index in range(noise.shape[1]):
            frames = make(tf.constant(noise[:, index]), labels)
            if before is None:
                done.append(frames[:, :hop].numpy())
            else:
                done += [fade(before, frames).numpy(), frames[:, overlap + 1 : hop].numpy()]
            before = frames
            is_last = index == noise.shape[1] - 1
            progress(request.n_frames - index * hop if is_last else hop)
        return np.concatenate([*done, frames[:, hop:].numpy()], axis=1)[:, : request.n_frames]

    @functools.cached_property
    def _programs(self) -> tuple[Any, Any]:
        """The compiled generation of examples, and the compiled crossfade."""

        def make(noise: Any, labels: Mapping[str, Any]) -> Any:
            image, loudness = self.make(noise, self.conditioning(labels, noise.shape[0]))
            return spectrogram_image.to_frames(image, loudness, self.spec)

        def fade(first: Any, second: Any) -> Any:
            return crossfade.crossfade(first, second, self.overlap, self.spec)

        return traced_functions.program(make), traced_functions.program(fade)
