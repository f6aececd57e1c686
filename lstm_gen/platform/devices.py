"""Devices: tf.distribute strategies, compilation by XLA, and the precision of layers."""

import contextlib
import contextvars
import functools
import importlib.metadata
import io
import tempfile
from collections.abc import Iterator

import keras
import tensorflow as tf

from lstm_gen.platform import cluster, errors

DEVICES = ("auto", "cpu", "gpu", "tpu")
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_PORTABLE = contextvars.ContextVar("portable", default=False)


def strategy(device: str, cpu_devices: int = 1) -> tf.distribute.Strategy:
    """Return the strategy for a device request; call it before TensorFlow does anything.

    Every device has an equal part of each batch. Where TF_CONFIG names several processes, the
    devices of all of them are used together; TensorFlow discovers the chips of a TPU VM itself.

    Args:
      device: "auto" (GPUs when there are any, else the CPU), "cpu", "gpu" or "tpu".
      cpu_devices: Number of logical devices that the CPU is split into.

    Raises:
      InputError: If the device requested is missing, or TF_CONFIG is malformed.
    """
    _require(device, cpu_devices)
    if device == "tpu":
        return _tpu_strategy()
    if cluster.member().size > 1:
        return _multi_worker_strategy(device, cpu_devices)
    names = devices(device, cpu_devices)
    if len(names) == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    return tf.distribute.MirroredStrategy(names)


def devices(device: str, cpu_devices: int = 1) -> list[str]:
    """Return TensorFlow's names of the devices of this process.

    Args:
      device: As for `strategy`.
      cpu_devices: As for `strategy`.

    Raises:
      InputError: If the device requested is missing.
    """
    _require(device, cpu_devices)
    if device == "tpu":
        _tpu_strategy()
        return [tpu.name for tpu in tf.config.list_logical_devices("TPU")]
    if device == "cpu" or not tf.config.list_physical_devices("GPU"):
        _split_cpu(cpu_devices)
        return [f"/cpu:{index}" for index in range(cpu_devices)]
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the chief, the only one of a cluster that writes."""
    return bool(strategy.extended.should_checkpoint)


@contextlib.contextmanager
def chief_output_dir(strategy: tf.distribute.Strategy, path: str) -> Iterator[str]:
    """Yield the directory this process writes to: `path` for the chief, else a temporary one.

    All processes run the same code, and leave one set of checkpoints, logs and samples. Nothing
    that the others print is shown. All of them read from `path`.
    """
    if is_chief(strategy):
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        yield scratch


def average(strategy: tf.distribute.Strategy, value: float) -> float:
    """Return the mean of a number over the processes of a cluster.

    All processes must take the same steps, so decisions use the mean of numbers that differ between
    them, such as times or the arrival of a POSIX signal. For a single process it is the number.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return value
    values = strategy.run(tf.identity, args=(tf.constant(value),))
    return float(strategy.reduce("MEAN", values, axis=None))


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Wait until every process of a cluster calls this.

    One that ends while others are at work is reported to them as crashed.
    """
    average(strategy, 0.0)


def _require(device: str, cpu_devices: int) -> None:
    """Raise InputError if the devices are missing; initialises nothing in TensorFlow."""
    errors.require_choice("device", device, DEVICES)
    errors.require(
        cpu_devices == 1 or (cpu_devices > 1 and device == "cpu"),
        "cpu_devices must be at least 1, and 1 unless --device=cpu",
        cpu_devices=cpu_devices,
        device=device,
    )
    if device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise errors.InputError(
            "--device=gpu needs a GPU that TensorFlow can see (pip install 'lstm_gen[gpu]' and a "
            f"working driver), or use --device=cpu. Received: device={device!r}, 0 GPUs"
        )


def _split_cpu(count: int) -> None:
    """Split the CPU into logical devices, unless it is already."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    if count > len(tf.config.get_logical_device_configuration(cpu) or [cpu]):
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, parts)


def _multi_worker_strategy(device: str, cpu_devices: int) -> tf.distribute.Strategy:
    """Return the strategy of the processes that TF_CONFIG names; waits for all of them."""
    errors.require(
        cpu_devices == 1,
        "a process among several has one CPU device; unset TF_CONFIG, or --cpu_devices=1",
        cpu_devices=cpu_devices,
        processes=cluster.member().size,
    )
    if device == "cpu":  # or it would take the GPUs
        tf.config.set_visible_devices([], "GPU")
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu_strategy() -> tf.distribute.Strategy:
    """Return the strategy of this TPU VM."""
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
    """Whether `jit_compile=True` works here and is faster for a function without long loops.

    A TPU wheel has no XLA compiler for the host's processor (it fails with "could not find
    registered transfer manager for platform Host"), and on a TPU `strategy.run` is compiled
    anyway. The wheel shows as the device TPU_SYSTEM, but to one process at a time. With several
    replicas in one process, a function of one would read variables of another.
    """
    if _is_tpu_image():
        return False
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return True
    return len(strategy.extended.worker_devices) == 1


def compiles_whole_steps(strategy: tf.distribute.Strategy, jit_compile: bool = False) -> bool:
    """Whether XLA should compile a training step as a whole.

    Not where replicas exchange gradients, nor where layers run custom kernels, which XLA cannot
    compile. Functions inside the step may still be compiled.

    Args:
      strategy: The model's.
      jit_compile: Whether no layer has custom kernels on any device.
    """
    alone = strategy.num_replicas_in_sync == 1
    kernels = not jit_compile and (uses_host_kernels() or uses_cudnn())
    return alone and compiles_with_xla(strategy) and not kernels


def uses_host_kernels() -> bool:
    """Whether layers may run custom kernels compiled for this machine's CPU.

    They may where no other device can be used, and outside of `portable`.
    """
    kinds = {device.device_type for device in tf.config.list_physical_devices()}
    return kinds == {"CPU"} and not _is_tpu_image() and not _PORTABLE.get()


def uses_cudnn() -> bool:
    """Whether layers may run cuDNN's kernels: on an NVIDIA GPU, outside of `portable`.

    They are no operations that XLA compiles.
    """
    if not tf.sysconfig.get_build_info()["is_cuda_build"] or _PORTABLE.get():
        return False
    if tf.distribute.has_strategy():
        devices = tf.distribute.get_strategy().extended.worker_devices
        return any("GPU" in device.upper() for device in devices)
    return bool(tf.config.list_physical_devices("GPU"))


def _is_tpu_image() -> bool:
    """Whether this is the TensorFlow of TPU VMs, with a TPU or without."""
    return _is_installed("tensorflow-tpu") or bool(tf.config.list_physical_devices("TPU_SYSTEM"))


@functools.cache
def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Trace with standard TensorFlow operations only, for XLA, other devices and saved graphs."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


@contextlib.contextmanager
def layer_precision(precision: str) -> Iterator[None]:
    """Build layers that compute in a precision; weights and losses are float32 in both.

    Args:
      precision: "float32" or "bfloat16".
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
