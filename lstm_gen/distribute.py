"""A device request becomes a tf.distribute strategy; nothing else asks about devices."""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

from lstm_gen import errors

DEVICES = ("auto", "cpu", "gpu", "tpu")
_PORTABLE = contextvars.ContextVar("portable", default=False)


def strategy(device: str) -> tf.distribute.Strategy:
    """Return the strategy for a device request.

    Args:
      device: "auto" (GPUs when there are any, else the CPU), "cpu", "gpu" or "tpu".

    Raises:
      InputError: If the device asked for is not there, saying what to do.
    """
    if device not in DEVICES:
        raise errors.InputError(f"device must be one of {DEVICES}. Received: device={device!r}")
    if device == "tpu":
        return _tpu_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if device == "gpu" and not gpus:
        raise errors.InputError(
            "--device=gpu needs a GPU that TensorFlow can see (pip install 'lstm_gen[gpu]' and a "
            f"working driver), or use --device=cpu. Received: device={device!r}, 0 GPUs"
        )
    if device == "cpu" or not gpus:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    if len(gpus) == 1:
        return tf.distribute.OneDeviceStrategy(gpus[0].name)
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])


def main_device(device: str) -> str:
    """Return the one device that generation runs on, as TensorFlow names it.

    Raises:
      InputError: As `strategy` does.
    """
    if device == "tpu":
        strategy(device)
        return str(tf.config.list_logical_devices("TPU")[0].name)
    gpus = tf.config.list_logical_devices("GPU")
    if device == "gpu":
        strategy(device)
    return str(gpus[0].name) if gpus and device != "cpu" else "/cpu:0"


def _tpu_strategy() -> tf.distribute.Strategy:
    """Return the strategy of the TPU VM that this process runs on."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise errors.InputError(
            "--use_tpu needs a TPU VM and its TensorFlow (pip install 'lstm_gen[tpu]' there), or "
            f"drop --use_tpu to run here. Received: {type(error).__name__} from TensorFlow"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def compiles_with_xla(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether `jit_compile=True` works here and pays for a function without long loops.

    A TPU wheel's host CPU has no XLA compiler (it fails with "could not find registered
    transfer manager for platform Host"), and on a TPU `strategy.run` is compiled anyway.
    With several replicas in one process the variables of one would be reached from another.
    """
    if tf.config.list_physical_devices("TPU_SYSTEM"):
        return False
    return strategy is None or strategy.num_replicas_in_sync == 1


def compiles_whole_steps(strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA should compile a training step as a whole.

    Not where layers run kernels of their own: those are no TensorFlow operations that XLA could
    take in. Functions inside the step may still be compiled.
    """
    return compiles_with_xla(strategy) and not (uses_host_kernels() or uses_cudnn())


def uses_host_kernels() -> bool:
    """Whether layers may run kernels written for this machine's processor.

    They may where the processor is all there is, outside of `portable`.
    """
    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return kinds == {"CPU"} and not _PORTABLE.get()


def uses_cudnn() -> bool:
    """Whether layers may run cuDNN's kernels where a function runs on a GPU.

    Not AMD's counterpart: it takes an LSTM's gates in another order.
    """
    cuda = tf.sysconfig.get_build_info()["is_cuda_build"]
    return cuda and bool(tf.config.list_physical_devices("GPU")) and not _PORTABLE.get()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Trace with TensorFlow operations alone, as XLA, other devices and saved graphs need."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)
