"""Stacks of convolutions over time: an encoder's, and the same layers in reverse to decode."""

from typing import Any

import keras

from lstm_gen.models.common import convolutions


def pair(
    channels: int, width: int, blocks: int, scales: int, size: int, window_steps: int = 0
) -> tuple[list[Any], list[Any]]:
    """Return the layers of an encoder, and those of the decoder that mirrors it.

    Args:
      channels: Values of a frame.
      width: Channels inside.
      blocks: Residual blocks of each.
      scales: How often the number of steps is halved.
      size: Values that a step is encoded to; what is decoded need not be as many.
      window_steps: Steps that are encoded as one, with no others beside them; 0 for each by itself.
    """
    ends: dict[str, Any] = {"kernel_size": window_steps, "padding": "valid"}
    ends = ends if window_steps else {"kernel_size": 3, "padding": "same"}
    first = keras.layers.Conv1DTranspose if window_steps else keras.layers.Conv1D
    half: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
    encoder = [
        convolutions.convolution(width, 3, "encode_first"),
        *(keras.layers.Conv1D(width, name=f"down_{i}", **half) for i in range(scales)),
        *(convolutions.ResidualBlock(width, name=f"encode_block_{i}") for i in range(blocks)),
        keras.layers.Conv1D(size, name="encode_last", **ends),
    ]
    decoder = [
        first(width, name="decode_first", **ends),
        *(convolutions.ResidualBlock(width, name=f"decode_block_{i}") for i in range(blocks)),
        *(keras.layers.Conv1DTranspose(width, name=f"up_{i}", **half) for i in range(scales)),
        convolutions.convolution(channels, 3, "decode_last"),
    ]
    return encoder, decoder
