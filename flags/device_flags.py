"""Where the model runs: CPU, GPU or TPU, one or several, and how exactly."""

import tensorflow as tf
from absl import flags

from lstm_gen.config.training import TrainingConfig
from lstm_gen.platform import devices as distribute

_DEVICE = flags.DEFINE_enum(
    "device",
    "auto",
    distribute.DEVICES,
    "auto takes every GPU there is, else the CPU. Several devices share each batch (each song, in "
    "generation, is made by one of them), and give the numbers that one would, but for rounding. "
    "Several machines do so too: set TF_CONFIG on each, as Vertex AI does, and start the same "
    "command on all.",
)
_USE_TPU = flags.DEFINE_boolean("use_tpu", False, "The same as --device=tpu: this TPU VM.")
_CPU_DEVICES = flags.DEFINE_integer(
    "cpu_devices",
    1,
    "With --device=cpu: devices that the processor is made to look like. Not faster; it shows what "
    "as many GPUs would do.",
    lower_bound=1,
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    TrainingConfig.precision,
    ("float32", "bfloat16"),
    "Of what flows through the model; weights, losses and likelihoods are float32 under both. "
    "bfloat16 pays on TPU and recent GPUs, not on CPU. Songs may be made in another precision "
    "than a model was trained in.",
)


def device() -> str:
    """Return the kind of device asked for."""
    return "tpu" if _USE_TPU.value else _DEVICE.value


def precision() -> str:
    """Return the precision asked for."""
    return _PRECISION.value


def strategy() -> tf.distribute.Strategy:
    """Return how the devices asked for train together.

    Raises:
      InputError: If they are not there.
    """
    return distribute.strategy(device(), _CPU_DEVICES.value)


def devices() -> list[str]:
    """Return the devices asked for, as TensorFlow names them.

    Raises:
      InputError: If they are not there.
    """
    return distribute.devices(device(), _CPU_DEVICES.value)
