"""What an encoder believes of latents: a Gaussian of each value by itself.

Source: Kingma and Welling 2013 (arXiv 1312.6114), appendix B.
"""

from typing import Any

import tensorflow as tf

_LEAST_LOG_SD = -6.0


def split(outputs: Any) -> tuple[Any, Any]:
    """Return the beliefs that an encoder's outputs stand for.

    Args:
      outputs: float32 [..., 2 * size], unbounded.

    Returns:
      Means, and the logarithms of deviations, at least -6, both float32 [..., size].
    """
    mean, raw = tf.split(outputs, 2, axis=-1)
    return mean, _LEAST_LOG_SD + tf.nn.softplus(raw - _LEAST_LOG_SD)


def divergence(mean: Any, log_sd: Any) -> Any:
    """Return how far each belief is from the standard normal, nats.

    Args:
      mean: float32, any shape.
      log_sd: The logarithm of the deviation, the same shape.

    Returns:
      The Kullback-Leibler divergence, float32, the same shape; 0 for mean 0 and deviation 1.
    """
    return 0.5 * (tf.square(mean) + tf.exp(2.0 * log_sd) - 1.0) - log_sd
