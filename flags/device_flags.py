"""Where the model runs: CPU, GPU or TPU."""

from absl import flags

from lstm_gen import distribute

_DEVICE = flags.DEFINE_enum(
    "device", "auto", distribute.DEVICES, "auto takes every GPU there is, else the CPU."
)
_USE_TPU = flags.DEFINE_boolean("use_tpu", False, "The same as --device=tpu: this TPU VM.")


def device() -> str:
    """Return the device asked for."""
    return "tpu" if _USE_TPU.value else _DEVICE.value
