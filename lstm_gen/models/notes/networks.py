"""Networks over images of sound: one makes them, one tells them apart, one says how to make them.

An image is float32 [examples, frames, bins, 2] as `levels` has it, beside it the loudness of the
example, [examples, 1]. All are told what it is to be: `told`, float32 [examples, width],
and `grid`, float32 [examples, bins, harmonics.CHANNELS], where the harmonics of its pitch lie; each
may have no values. Nothing that they say of an example depends on the others.

They work at a quarter of the resolution and finer: 2 frames by 8 bins are one place of 16 values,
so that a convolution costs little and a single bin can still be told from the next. What a grid
says is the same for all frames, so it is worked out once per place and added.
"""

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from lstm_gen.models.common import convolutions
from lstm_gen.models.notes import harmonic_encoding, spectrogram_image

_FRAMES, _BINS = 2, 8  # of a place
_STEPS = 3  # by which places are halved, or doubled


class Size(NamedTuple):
    """What the players are built for.

    Attributes:
      frames: Frames of an image.
      bins: Bins of a frame.
      noise: Values of a draw.
      told: Values that the players are told; 0 for none.
      pitched: Whether there is a grid.
      width: Channels of the generator's middle; all others are in proportion.
    """

    frames: int
    bins: int
    noise: int
    told: int
    pitched: bool
    width: int

    @property
    def places(self) -> tuple[int, int]:
        """Places over time and over frequency, which can be halved `_STEPS` times."""
        whole = 1 << _STEPS
        return (
            whole * math.ceil(self.frames / (whole * _FRAMES)),
            whole * math.ceil(self.bins / (whole * _BINS)),
        )

    @property
    def least(self) -> tuple[int, int]:
        """Places after all halvings."""
        return self.places[0] >> _STEPS, self.places[1] >> _STEPS


class Generator(keras.layers.Layer):
    """Makes an image of noise.

    Places are doubled three times from a few, and a last stage, which sees the grid, gives each bin
    a level between harmonics, how far it rises towards one, and a phase step beyond that of the
    nearest harmonic.
    """

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        width = size.width
        half, most = width // 2, 3 * width // 4
        self.embed = _dense(width, "embed") if size.told else None
        self.first = _dense(2 * width, "first")
        self.loudness = keras.layers.Dense(1, name="loudness")
        self.spread = _dense(math.prod(size.least) * width, "spread")
        self.rises = [_conv(n, name=f"rise_{i}") for i, n in enumerate((width, most, half))]
        self.grid = _Grid(size, (half, width), name="grid") if size.pitched else None
        self.mixes = [_conv(half, name=f"mix_{i}") for i in range(2)]
        self.fine = [_dense(width, "fine_0"), _dense(half, "fine_1")]
        self.bins = keras.layers.Dense(_FRAMES * _BINS * 3, name="bins")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        size, width = self.size, self.size.width
        half = width // 2
        if self.embed is not None:
            self.embed.build((None, size.told))
        self.first.build((None, size.noise + (width if self.embed is not None else 0)))
        self.loudness.build((None, 2 * width))
        self.spread.build((None, 2 * width))
        into = width
        for rise in self.rises:
            rise.build((None, None, None, into))
            into = rise.filters
        if self.grid is not None:
            self.grid.build()
        for mix in self.mixes:
            mix.build((None, None, None, half))
        self.fine[0].build((None, None, None, half))
        self.fine[1].build((None, None, None, width))
        self.bins.build((None, None, None, half))
        self.built = True

    def call(self, noise: Any, told: Any, grid: Any) -> tuple[Any, Any]:
        """Return the image, and its loudness from -1 to 1, for noise float32 [examples, values]."""
        size = self.size
        count = noise.shape[0] or tf.shape(noise)[0]
        parts = [noise] if self.embed is None else [noise, self.embed(told)]
        hidden = self.first(tf.concat(parts, axis=1))
        loudness = tf.tanh(tf.cast(self.loudness(hidden), tf.float32))
        hidden = tf.reshape(self.spread(hidden), [count, *size.least, size.width])
        for rise in self.rises:
            hidden = rise(tf.repeat(tf.repeat(hidden, 2, axis=1), 2, axis=2))
        coarse, fine = self.grid(grid) if self.grid is not None else (0.0, 0.0)
        hidden = hidden + coarse
        for mix in self.mixes:
            hidden = mix(hidden)
        hidden = self.fine[1](self.fine[0](hidden) + fine)
        raw = _from_places(tf.cast(self.bins(hidden), tf.float32), size)
        level, rise_to, step = tf.unstack(_smooth(raw, axis=1), axis=-1)
        level, rise_to = _smooth(level, axis=2), _smooth(rise_to, axis=2)
        if self.grid is not None:
            near = tf.cast(grid, tf.float32)[:, tf.newaxis]
            level, step = level + rise_to * near[..., 2], tf.tanh(step) + near[..., 3]
        else:
            level, step = level + rise_to, tf.tanh(step)
        return tf.stack([tf.tanh(level), step], axis=-1), loudness


class _Trunk(keras.layers.Layer):
    """What looks at an image: places are halved three times and seen as a whole."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.width = size, 2 * size.width
        most = 3 * size.width // 4
        self.fine = [_dense(most, "fine_0"), _dense(most, "fine_1")]
        self.grid = _Grid(size, (most,), name="grid") if size.pitched else None
        self.falls = [
            _conv(n, strides=2, name=f"fall_{i}")
            for i, n in enumerate((most, size.width, 3 * size.width // 2))
        ]
        self.last = keras.layers.Dense(self.width, kernel_initializer="he_normal", name="last")
        # By itself: one number among thousands would hardly be heeded, and be made up freely.
        self.louder = keras.layers.Dense(self.width, kernel_initializer="he_normal", name="louder")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        per_bin = 4 if self.grid is not None else 2
        self.fine[0].build((None, None, None, _FRAMES * _BINS * per_bin))
        self.fine[1].build((None, None, None, self.fine[0].units))
        if self.grid is not None:
            self.grid.build()
        into = self.fine[1].units
        for fall in self.falls:
            fall.build((None, None, None, into))
            into = fall.filters
        self.last.build((None, math.prod(self.size.least) * into))
        self.louder.build((None, 1))
        self.built = True

    def see(self, image: Any, loudness: Any, grid: Any) -> Any:
        """Return what is seen of images, beside a grid of their pitch, [examples, width]."""
        count = image.shape[0] or tf.shape(image)[0]
        if self.grid is not None:  # what each bin is beside what a harmonic there would be
            near = grid[:, tf.newaxis]
            lobe, level = near[..., 2:3], image[..., :1]
            astray = image[..., 1:] - spectrogram_image.gate(level) * near[..., 3:]
            image = tf.concat([image, lobe * level, lobe * astray], axis=-1)
        hidden = self.fine[0](_to_places(image, self.size))
        if self.grid is not None:
            hidden = hidden + self.grid(grid)[0]
        hidden = self.fine[1](hidden)
        for fall in self.falls:
            hidden = fall(hidden)
        flat = tf.reshape(hidden, [count, math.prod(hidden.shape[1:])])
        return convolutions.leaky_relu(self.last(flat) + self.louder(loudness))


class Discriminator(_Trunk):
    """Scores an image: the higher, the more it takes it for a real one."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.score = keras.layers.Dense(1, name="score")
        self.match = keras.layers.Dense(self.width, name="match") if size.told else None

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        super().build()
        self.score.build((None, self.width))
        if self.match is not None:
            self.match.build((None, self.size.told))

    def call(self, image: Any, loudness: Any, told: Any, grid: Any) -> Any:
        """Return the score of each image, float32 [examples]."""
        hidden = self.see(image, loudness, grid)
        score = tf.cast(self.score(hidden)[:, 0], tf.float32)
        if self.match is None:
            return score
        agreement = tf.cast(hidden, tf.float32) * tf.cast(self.match(told), tf.float32)
        return score + tf.reduce_sum(agreement, axis=1)


class Encoder(_Trunk):
    """Says what noise a generator would need to make an image: mean and log deviation."""

    def __init__(self, size: Size, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.told = _dense(self.width, "told") if size.told else None
        self.code = keras.layers.Dense(2 * size.noise, name="code")

    def build(self, *_: Any) -> None:
        """Create every layer's weights."""
        super().build()
        if self.told is not None:
            self.told.build((None, self.size.told))
        self.code.build((None, self.width * (1 if self.told is None else 2)))

    def call(self, image: Any, loudness: Any, told: Any, grid: Any) -> tuple[Any, Any]:
        """Return both, float32 [examples, noise]."""
        hidden = self.see(image, loudness, grid)
        if self.told is not None:
            hidden = tf.concat([hidden, self.told(told)], axis=1)
        mean, log_sd = tf.split(tf.cast(self.code(hidden), tf.float32), 2, axis=1)
        return mean, tf.clip_by_value(log_sd, -6.0, 2.0)


class _Grid(keras.layers.Layer):
    """What a grid says of each place over frequency, in one or more numbers of channels."""

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

    def call(self, grid: Any) -> tuple[Any, ...]:
        """Return an array [examples, 1, places, channels] for each number of channels."""
        count, places = grid.shape[0] or tf.shape(grid)[0], self.size.places[1]
        padded = tf.pad(grid, [(0, 0), (0, places * _BINS - self.size.bins), (0, 0)])
        folded = tf.reshape(padded, [count, places, _BINS * harmonic_encoding.CHANNELS])
        hidden = self.hidden(folded)
        return tuple(output(hidden)[:, tf.newaxis] for output in self.outputs)


def _to_places(image: Any, size: Size) -> Any:
    """Return an image [examples, frames, bins, values] as places; what is added is 0."""
    count, values = image.shape[0] or tf.shape(image)[0], image.shape[-1]
    high, wide = size.places
    missing = [(0, high * _FRAMES - size.frames), (0, wide * _BINS - size.bins)]
    padded = tf.pad(image, [(0, 0), *missing, (0, 0)])
    split = tf.reshape(padded, [count, high, _FRAMES, wide, _BINS, values])
    joined = tf.transpose(split, [0, 1, 3, 2, 4, 5])
    return tf.reshape(joined, [count, high, wide, _FRAMES * _BINS * values])


def _from_places(places: Any, size: Size) -> Any:
    """Return places as an image, without what `_to_places` adds."""
    count = places.shape[0] or tf.shape(places)[0]
    high, wide = size.places
    split = tf.reshape(places, [count, high, wide, _FRAMES, _BINS, -1])
    image = tf.reshape(
        tf.transpose(split, [0, 1, 3, 2, 4, 5]),
        [count, high * _FRAMES, wide * _BINS, places.shape[-1] // (_FRAMES * _BINS)],
    )
    return image[:, : size.frames, : size.bins]


def _smooth(values: Any, axis: int) -> Any:
    """Return (before + 2 here + after) / 4 along an axis: what alternates is gone.

    Windows overlap and a tone reaches over several bins, so nothing real changes from one frame or
    bin to the next and back; what is folded into places would.
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
