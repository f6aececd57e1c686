"""Base class of the families with an encoder, latents with priors, and a decoder."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, overlap_add, rng
from lstm_gen.models.latents.priors import Priors

Labels = Mapping[str, Any]
"""Conditioning labels: "label/NAME" to an array with a row for each example."""


class LatentModel(base.AudioModel):
    """A model that encodes frames to latents and decodes latents to frames.

    Frames are float32 [examples, frames, channels], normalised, of any length; latents are float32
    [examples, steps, size].

    Attributes:
      steps_per_chunk: Latent steps that the encoder or the decoder processes at once.
      n_draws: Draws from each posterior that the priors are fitted to.
      edge_steps: Steps at either end of a recording that the priors are not fitted to, where there
        are enough others.
      priors: Priors of the latents, with their deviations and class means.
    """

    fitted = "the latent prior"
    steps_per_chunk: ClassVar[int] = 512
    n_draws: ClassVar[int] = 1

    edge_steps: int = 0
    priors: Priors

    def posterior(self, frames: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the latents of recordings."""
        raise NotImplementedError

    def count_steps(self, n_frames: int) -> int:
        """Return the latent steps of so many frames."""
        raise NotImplementedError

    def encode(self, frames: np.ndarray, labels: Labels) -> np.ndarray:
        """Return the means of the latents of recordings."""
        return self.posterior(frames, labels)[0]

    def decode(self, latents: np.ndarray, n_frames: int, labels: Labels) -> np.ndarray:
        """Return the first `n_frames` frames of latents."""
        return self.decode_songs(latents, n_frames, labels, lambda _: None)

    def decode_songs(
        self, latents: np.ndarray, n_frames: int, labels: Labels, progress: base.Progress
    ) -> np.ndarray:
        """Return the frames of latents by the compiled decoder.

        Args:
          latents: Latents of songs of one length.
          n_frames: Frames of each song.
          labels: Conditioning labels of the songs.
          progress: Called with the latent steps done since the last call.
        """
        raise NotImplementedError

    def latent_std(self) -> np.ndarray:
        """Return the deviation of each latent over the training split, float32 [size].

        Raises:
          InputError: If the priors are not fitted yet.
        """
        self.priors.require_fitted()
        return np.asarray(self.priors.spread)

    def class_means(self) -> Mapping[str, np.ndarray]:
        """Return the mean latent of each class of the spec's `classes`, float32 [classes, size].

        Raises:
          InputError: If the priors are not fitted yet.
        """
        self.priors.require_fitted()
        return self.priors.class_means()

    def label_vector(self, labels: Labels, n_examples: Any) -> Any:
        """Return the conditioning vector of examples, float32 [examples, width]."""
        return conditioning.vector(self.spec.conditions, labels, n_examples)

    def in_chunks(
        self,
        function: Callable[..., Any],
        values: np.ndarray,
        *arguments: Any,
        stride: int = 1,
        progress: base.Progress = lambda _: None,
    ) -> np.ndarray:
        """Apply a convolutional function to sequences in overlapping chunks.

        Args:
          function: Encoder or decoder, of values [examples, steps * stride, ...] and `arguments`.
          values: Sequences of any length.
          *arguments: Further tensors, the same for every chunk.
          stride: Values of the input per latent step.
          progress: Called with the latent steps done since the last call.
        """
        return overlap_add.run_in_chunks(
            lambda part: function(tf.constant(part), *arguments),
            values,
            stride,
            self.steps_per_chunk,
            self.config.context,
            progress,
        )

    def draw_latents(self, request: base.GenerationRequest, n_steps: int) -> np.ndarray:
        """Return latents of the requested songs, drawn from a prior.

        Raises:
          InputError: If the model has no such prior, or it is not fitted yet.
        """
        first_row = 0 if request.share_noise else request.first_song
        return self.priors.draw(
            self.priors.resolve(request.prior),
            n_steps,
            rng.seed_from(request.seed, rng.SONGS, first_row),
            request.n_songs,
            request.sampling.temperature,
            self.label_vector(request.labels, request.n_songs),
            request.share_noise,
        )

    def generate(
        self, request: base.GenerationRequest, primer: Any, progress: base.Progress
    ) -> np.ndarray:
        """Decode latents drawn from a prior; see `base.AudioModel.generate`."""
        del primer  # not supported by these families
        n_steps = self.count_steps(request.n_frames)
        latents = self.draw_latents(request, n_steps)
        done = 0

        def count_frames(steps: int) -> None:
            nonlocal done
            before, done = done * request.n_frames // n_steps, done + steps
            progress(done * request.n_frames // n_steps - before)

        return self.decode_songs(latents, request.n_frames, request.labels, count_frames)

    def fit_data(self, examples: base.Examples) -> None:
        """Fit the priors, and the class means, to latents drawn for the training split."""
        random = np.random.default_rng(0)
        latents: list[np.ndarray] = []
        vectors: list[np.ndarray] = []
        classes: dict[str, list[int]] = {f"label/{one.name}": [] for one in self.spec.classes}
        for frames, labels in overlap_add.consecutive_windows(examples, self.spec.timesteps):
            own = np.asarray(self.label_vector(labels, 1))[0]
            mean, std = (part[0] for part in self.posterior(frames[np.newaxis], labels))
            if len(mean) > 4 * self.edge_steps > 0:
                inner = slice(self.edge_steps, -self.edge_steps)
                mean, std = mean[inner], std[inner]
            for normal in random.standard_normal((self.n_draws, *mean.shape)):
                latents.append((mean + std * normal).astype(np.float32))
                vectors.append(own)
                for name, values in classes.items():
                    values.append(int(labels[name][0]))
        class_indices = {name: np.array(rows) for name, rows in classes.items()}
        self.priors.fit(latents, class_indices, np.stack(vectors))
