"""Generator, discriminator and encoder of spectrogram images.

An image is float32 [examples, frames, bins, 2] as in `spectrogram_image`, with the loudness of the
example, [examples, 1]. All networks are conditioned on `cond`, float32 [examples, width], and on
`harmonics`, the harmonic encoding of the pitch, float32 [examples, bins,
harmonic_encoding.CHANNELS]; either may be empty. Outputs of an example do not depend on the others.

Patches of 2 frames by 8 bins are the channels of the finest layer, which keeps convolutions cheap
without merging neighbouring bins. The harmonic encoding is the same for all frames, so its
embedding is computed once per column of patches and added.
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from lstm_gen.models.common import convolutions
from lstm_gen.models.notes import harmonic_encoding, spectrogram_image

_FRAMES, _BINS = 2, 8  # of a patch
_SCALES = 3  # halvings, or doublings, of the patches
# Names of layers, as "grid" and "told", stand in checkpoints: they stay when attributes do not.


class Size(NamedTuple):
    """Sizes of the networks.

    Attributes:
      frames: Frames of an image.
      bins: Bins of a frame.
      noise: Values of the generator's noise, or of a latent.
      cond: Values of the conditioning vector; 0 for none.
      pitched: Whether there is a harmonic encoding.
      width: Channels of the generator's middle; all others are in proportion.
    """

    frames: int
    bins: int
    noise: int
    cond: int
    pitched: bool
    width: int

    @property
    def patches(self) -> tuple[int, int]:
        """Patches over time and over frequency, multiples of 2^`_SCALES`."""
        whole = 1 << _SCALES
        return (
            whole * math.ceil(self.frames / (whole * _FRAMES)),
            whole * math.ceil(self.bins / (whole * _BINS)),
        )

    @property
    def coarsest(self) -> tuple[int, int]:
        """Patches after all halvings."""
        return self.patches[0] >> _SCALES, self.patches[1] >> _SCALES


class Generator(keras.layers.Layer):
    """Generator: noise to an image.

    Three upsamplings are followed by layers conditioned on the harmonic encoding. Each bin gets a
    level between harmonics, a rise towards a harmonic, and a phase step relative to that of the
    nearest harmonic.
    """

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        width = size.width
        half, most = width // 2, 3 * width // 4
        self.embed = _dense(width, "embed") if size.cond else None
        self.first = _dense(2 * width, "first")
        self.loudness = keras.layers.Dense(1, name="loudness")
        self.spread = _dense(math.prod(size.coarsest) * width, "spread")
        self.upsamplings = [_conv(n, name=f"rise_{i}") for i, n in enumerate((width, most, half))]
        self.harmonics = (
            _HarmonicEmbedding(size, (half, width), name="grid") if size.pitched else None
        )
        self.mixes = [_conv(half, name=f"mix_{i}") for i in range(2)]
        self.fine = [_dense(width, "fine_0"), _dense(half, "fine_1")]
        self.bins = keras.layers.Dense(_FRAMES * _BINS * 3, name="bins")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        size, width = self.size, self.size.width
        half = width // 2
        if self.embed is not None:
            self.embed.build((None, size.cond))
        self.first.build((None, size.noise + (width if self.embed is not None else 0)))
        self.loudness.build((None, 2 * width))
        self.spread.build((None, 2 * width))
        into = width
        for layer in self.upsamplings:
            layer.build((None, None, None, into))
            into = layer.filters
        if self.harmonics is not None:
            self.harmonics.build()
        for mix in self.mixes:
            mix.build((None, None, None, half))
        self.fine[0].build((None, None, None, half))
        self.fine[1].build((None, None, None, width))
        self.bins.build((None, None, None, half))
        self.built = True

    def call(self, noise: Any, cond: Any, harmonics: Any) -> tuple[Any, Any]:
        """Return the image, and its loudness from -1 to 1, of noise, float32 [examples, values]."""
        size = self.size
        count = noise.shape[0] or tf.shape(noise)[0]
        parts = [noise] if self.embed is None else [noise, self.embed(cond)]
        hidden = self.first(tf.concat(parts, axis=1))
        loudness = tf.tanh(tf.cast(self.loudness(hidden), tf.float32))
        hidden = tf.reshape(self.spread(hidden), [count, *size.coarsest, size.width])
        for layer in self.upsamplings:
            hidden = layer(tf.repeat(tf.repeat(hidden, 2, axis=1), 2, axis=2))
        coarse, fine = self.harmonics(harmonics) if self.harmonics is not None else (0.0, 0.0)
        hidden = hidden + coarse
        for mix in self.mixes:
            hidden = mix(hidden)
        hidden = self.fine[1](self.fine[0](hidden) + fine)
        raw = _from_patches(tf.cast(self.bins(hidden), tf.float32), size)
        level, rise, step = tf.unstack(_smooth(raw, axis=1), axis=-1)
        level, rise = _smooth(level, axis=2), _smooth(rise, axis=2)
        if self.harmonics is not None:
            near = tf.cast(harmonics, tf.float32)[:, tf.newaxis]
            level, step = level + rise * near[..., 2], tf.tanh(step) + near[..., 3]
        else:
            level, step = level + rise, tf.tanh(step)
        return tf.stack([tf.tanh(level), step], axis=-1), loudness


class _Trunk(keras.layers.Layer):
    """Features of an image: three downsamplings and a dense layer."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.width = size, 2 * size.width
        most = 3 * size.width // 4
        self.fine = [_dense(most, "fine_0"), _dense(most, "fine_1")]
        self.harmonics = _HarmonicEmbedding(size, (most,), name="grid") if size.pitched else None
        self.downsamplings = [
            _conv(n, strides=2, name=f"fall_{i}")
            for i, n in enumerate((most, size.width, 3 * size.width // 2))
        ]
        self.last = keras.layers.Dense(self.width, kernel_initializer="he_normal", name="last")
        # A layer of its own: one number among thousands would have next to no weight.
        self.louder = keras.layers.Dense(self.width, kernel_initializer="he_normal", name="louder")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        per_bin = 4 if self.harmonics is not None else 2
        self.fine[0].build((None, None, None, _FRAMES * _BINS * per_bin))
        self.fine[1].build((None, None, None, self.fine[0].units))
        if self.harmonics is not None:
            self.harmonics.build()
        into = self.fine[1].units
        for layer in self.downsamplings:
            layer.build((None, None, None, into))
            into = layer.filters
        self.last.build((None, math.prod(self.size.coarsest) * into))
        self.louder.build((None, 1))
        self.built = True

    def features(self, image: Any, loudness: Any, harmonics: Any) -> Any:
        """Return the features of images, [examples, width]."""
        count = image.shape[0] or tf.shape(image)[0]
        if self.harmonics is not None:  # each bin relative to a harmonic there
            near = harmonics[:, tf.newaxis]
            lobe, level = near[..., 2:3], image[..., :1]
            deviation = image[..., 1:] - spectrogram_image.gate(level) * near[..., 3:]
            image = tf.concat([image, lobe * level, lobe * deviation], axis=-1)
        hidden = self.fine[0](_to_patches(image, self.size))
        if self.harmonics is not None:
            hidden = hidden + self.harmonics(harmonics)[0]
        hidden = self.fine[1](hidden)
        for layer in self.downsamplings:
            hidden = layer(hidden)
        flat = tf.reshape(hidden, [count, math.prod(hidden.shape[1:])])
        return convolutions.leaky_relu(self.last(flat) + self.louder(loudness))


class Discriminator(_Trunk):
    """Discriminator: an image to its score, higher for real ones; projects on `cond`."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.score = keras.layers.Dense(1, name="score")
        self.match = keras.layers.Dense(self.width, name="match") if size.cond else None

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        super().build()
        self.score.build((None, self.width))
        if self.match is not None:
            self.match.build((None, self.size.cond))

    def call(self, image: Any, loudness: Any, cond: Any, harmonics: Any) -> Any:
        """Return the score of each image, float32 [examples]."""
        hidden = self.features(image, loudness, harmonics)
        score = tf.cast(self.score(hidden)[:, 0], tf.float32)
        if self.match is None:
            return score
        projection = tf.cast(hidden, tf.float32) * tf.cast(self.match(cond), tf.float32)
        return score + tf.reduce_sum(projection, axis=1)


class Encoder(_Trunk):
    """Encoder: an image to the approximate posterior of the generator's noise."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.embed = _dense(self.width, "told") if size.cond else None
        self.code = keras.layers.Dense(2 * size.noise, name="code")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        super().build()
        if self.embed is not None:
            self.embed.build((None, self.size.cond))
        self.code.build((None, self.width * (1 if self.embed is None else 2)))

    def call(self, image: Any, loudness: Any, cond: Any, harmonics: Any) -> tuple[Any, Any]:
        """Return mean and log deviation, float32 [examples, noise]."""
        hidden = self.features(image, loudness, harmonics)
        if self.embed is not None:
            hidden = tf.concat([hidden, self.embed(cond)], axis=1)
        mean, log_sd = tf.split(tf.cast(self.code(hidden), tf.float32), 2, axis=1)
        return mean, tf.clip_by_value(log_sd, -6.0, 2.0)


class _HarmonicEmbedding(keras.layers.Layer):
    """Embeddings of the harmonic encoding, one for each of the given widths."""

    def __init__(self, size: Size, widths: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.hidden = _dense(size.width, "hidden")
        self.outputs = [keras.layers.Dense(n, name=f"output_{i}") for i, n in enumerate(widths)]

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        self.hidden.build((None, None, _BINS * harmonic_encoding.CHANNELS))
        for output in self.outputs:
            output.build((None, None, self.size.width))
        self.built = True

    def call(self, harmonics: Any) -> tuple[Any, ...]:
        """Return [examples, 1, patches over frequency, width] for each width."""
        count, columns = harmonics.shape[0] or tf.shape(harmonics)[0], self.size.patches[1]
        padded = tf.pad(harmonics, [(0, 0), (0, columns * _BINS - self.size.bins), (0, 0)])
        folded = tf.reshape(padded, [count, columns, _BINS * harmonic_encoding.CHANNELS])
        hidden = self.hidden(folded)
        return tuple(output(hidden)[:, tf.newaxis] for output in self.outputs)


def _to_patches(image: Any, size: Size) -> Any:
    """Return an image [examples, frames, bins, values] as patches, zero-padded."""
    count, values = image.shape[0] or tf.shape(image)[0], image.shape[-1]
    high, wide = size.patches
    missing = [(0, high * _FRAMES - size.frames), (0, wide * _BINS - size.bins)]
    padded = tf.pad(image, [(0, 0), *missing, (0, 0)])
    split = tf.reshape(padded, [count, high, _FRAMES, wide, _BINS, values])
    joined = tf.transpose(split, [0, 1, 3, 2, 4, 5])
    return tf.reshape(joined, [count, high, wide, _FRAMES * _BINS * values])


def _from_patches(patches: Any, size: Size) -> Any:
    """Return the image of patches, without the padding of `_to_patches`."""
    count = patches.shape[0] or tf.shape(patches)[0]
    high, wide = size.patches
    split = tf.reshape(patches, [count, high, wide, _FRAMES, _BINS, -1])
    image = tf.reshape(
        tf.transpose(split, [0, 1, 3, 2, 4, 5]),
        [count, high * _FRAMES, wide * _BINS, patches.shape[-1] // (_FRAMES * _BINS)],
    )
    return image[:, : size.frames, : size.bins]


def _smooth(values: Any, axis: int) -> Any:
    """Return (previous + 2 current + next) / 4 along an axis, which removes patch artefacts.

    Windows overlap and a tone covers several bins, so no real spectrum alternates from one frame or
    bin to the next.
    """

    def part(source: Any, *ends: int | None) -> Any:
        return source[(slice(None),) * axis + (slice(*ends),)]

    padded = tf.concat([part(values, 0, 1), values, part(values, -1, None)], axis=axis)
    return 0.25 * (part(padded, 0, -2) + part(padded, 2, None)) + 0.5 * values


def _dense(units: int, name: str) -> keras.layers.Dense:
    return keras.layers.Dense(
        units, activation=convolutions.leaky_relu, kernel_initializer="he_normal", name=name
    )


def _conv(filters: int, strides: int = 1, name: str = "") -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding="same",
        activation=convolutions.leaky_relu,
        kernel_initializer="he_normal",
        name=name,
    )
