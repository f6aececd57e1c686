"""Approximate posterior: a diagonal Gaussian.

Source: Kingma and Welling 2013 (arXiv 1312.6114), appendix B.
"""

from typing import Any

import tensorflow as tf

_MIN_LOG_SD = -6.0


def split(outputs: Any) -> tuple[Any, Any]:
    """Return the mean and log deviation of the posterior that an encoder's outputs parametrise.

    Args:
      outputs: float32 [..., 2 * size], unbounded.

    Returns:
      Mean and log deviation, the latter at least -6, both float32 [..., size].
    """
    mean, raw = tf.split(outputs, 2, axis=-1)
    return mean, _MIN_LOG_SD + tf.nn.softplus(raw - _MIN_LOG_SD)


def kl_divergence(mean: Any, log_sd: Any) -> Any:
    """Return the KL divergence of each latent from the standard normal, nats.

    Args:
      mean: float32, any shape.
      log_sd: Log deviation, the same shape.

    Returns:
      float32, the same shape; 0 for mean 0 and deviation 1.
    """
    return 0.5 * (tf.square(mean) + tf.exp(2.0 * log_sd) - 1.0) - log_sd
