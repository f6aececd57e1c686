"""Lowering: the real training step and generation as StableHLO, the TPU compiler's input.

TensorFlow does this on any machine. Everything is traced inside `devices.portable()`, as on a TPU.
Dynamic shapes and operations without an XLA kernel, such as calls into Python, are errors.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2

from lstm_gen import models
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.platform import devices, traced_functions
from lstm_gen.training import step as steps

_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
_SIZE = r"([\d.]+)([KMGT]?)"
_TOO_LARGE = (
    rf"Used {_SIZE} of {_SIZE} hbm",
    rf"temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)",
)


class CompileError(Exception):
    """A program cannot run on a TPU; the message is one line with the reason."""


class OutOfMemoryError(CompileError):
    """A program does not fit in a device's HBM."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Model and training settings to check.

    Attributes:
      settings: Configuration of the family.
      spec: Shape of the model's inputs and outputs.
      training: Training settings; the batch size is the global one.
    """

    settings: Any
    spec: base.FrameSpec
    training: TrainingConfig

    @property
    def family(self) -> type[base.AudioModel]:
        """Class of the model family."""
        return models.by_name(self.settings.family)


@dataclasses.dataclass(frozen=True)
class Program:
    """Lowered program of one device.

    Attributes:
      name: Name for messages.
      calls: Number of calls.
      stablehlo: StableHLO text, for reading.
      serialise: Function that returns `hlo`.
    """

    name: str
    calls: int
    stablehlo: str
    serialise: Callable[[], bytes]

    @functools.cached_property
    def hlo(self) -> bytes:
        """Serialised `HloModuleProto`, the compiler's input.

        The constants in StableHLO text depend on the version of MLIR.
        """
        return self.serialise()


def lower_step(plan: Plan, device_batch: int) -> Program:
    """Return the training step of one device.

    Args:
      plan: Model and training settings.
      device_batch: Examples per step on the device.

    Raises:
      CompileError: If the step cannot run on a TPU.
    """
    with devices.portable(), devices.layer_precision(plan.training.precision):
        with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
            model = plan.family.create(plan.settings, plan.spec)
            objectives = model.objectives()
            optimizers = steps.make_optimizers(plan.training, objectives)
        step = steps.make_replica_step(objectives, optimizers, plan.training)
        arguments = (batch_spec(plan.spec, device_batch), tf.TensorSpec([], tf.int32))
        return lower("train step", 1, step, arguments)


def lower_generation(
    plan: Plan, request: base.GenerationRequest, primer_frames: int
) -> list[Program]:
    """Return the programs that generate songs from a primer of `primer_frames` frames.

    Raises:
      CompileError: If one cannot run on a TPU.
    """
    with devices.portable():
        model = plan.family.create(plan.settings, plan.spec)
        primer = np.zeros([request.n_songs, primer_frames, plan.spec.channels], np.float32)
        labels = {
            name: np.zeros(one.shape, one.dtype.as_numpy_dtype)
            for name, one in label_specs(plan.spec, request.n_songs).items()
        }
        request = dataclasses.replace(request, labels=labels)
        with traced_functions.listing() as calls:
            model.generate(request, primer, lambda _: None)
        return [lower(*call) for call in calls]


def count_parameters(plan: Plan) -> int:
    """Return the number of trainable parameters of the model."""
    model = plan.family.create(plan.settings, plan.spec)
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def batch_spec(spec: base.FrameSpec, n_windows: int) -> dict[str, tf.TensorSpec]:
    """Return the shapes of a training batch, conditioning labels included (`models.base.Batch`)."""
    frames = [n_windows, spec.timesteps + spec.shift, spec.channels]
    return {
        "frames": tf.TensorSpec(frames, tf.float32),
        "weight": tf.TensorSpec([n_windows], tf.float32),
        "recording": tf.TensorSpec([n_windows], tf.int64),
        "start_frame": tf.TensorSpec([n_windows], tf.int64),
        "row": tf.TensorSpec([n_windows], tf.int64),
        **label_specs(spec, n_windows),
    }


def label_specs(spec: base.FrameSpec, n_examples: int) -> dict[str, tf.TensorSpec]:
    """Return the shapes of the conditioning labels."""
    specs = {}
    for one in spec.conditions:
        shape = [one.n_values] if one.kind == "multi" else []
        dtype = tf.int64 if one.kind == "class" else tf.float32
        specs[f"label/{one.name}"] = tf.TensorSpec([n_examples, *shape], dtype)
    return specs


def lower(
    name: str, calls: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Program:
    """Lower a function of tensors (or structures of them).

    Args:
      name: Name for messages.
      calls: Number of calls.
      function: The function; variables that it reads or writes become inputs and outputs.
      arguments: A `tf.TensorSpec` in place of each tensor.

    Raises:
      CompileError: If the function cannot run on a TPU.
    """

    def flat(*leaves: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(arguments, leaves))

    compiled = tf.function(flat, jit_compile=True)
    try:
        stage = compiled.experimental_get_compiler_ir(*tf.nest.flatten(arguments))
        stablehlo = stage("stablehlo")
    except (tf.errors.OpError, NotImplementedError, ValueError) as error:
        raise tensorflow_error(str(error)) from error
    unknown = re.search(r"tensor<([^,>]*\?[^,>]*)", stablehlo)
    if unknown:
        raise CompileError(f"a shape is not known at compile time: {unknown[1]}")
    return Program(name, calls, stablehlo, lambda: _without_copies(stage("hlo_serialized")))


def _without_copies(hlo: bytes) -> bytes:
    """Return a module without copies, for which StableHLO has no operation.

    TensorFlow copies the new values of variables; a conversion to the same type is equivalent.
    """
    module = hlo_pb2.HloModuleProto.FromString(hlo)
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode == "copy":
                instruction.opcode = "convert"
    return module.SerializeToString()


def tensorflow_error(message: str) -> CompileError:
    """Return the one-line form of TensorFlow's error while lowering."""
    unsupported = re.search(r"(\w+) \(No registered", message)
    if unsupported:
        return CompileError(f"XLA has no {unsupported[1]}: that operation runs on a host only")
    return CompileError(f"XLA cannot lower it: {_first_line(message)}")


def compiler_error(message: str) -> CompileError:
    """Return the one-line form of the TPU compiler's error."""
    for pattern in _TOO_LARGE:
        found = re.search(pattern, message)
        if found:
            needed, usable = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
            return OutOfMemoryError(
                f"it needs at least {needed / 1e9:.1f} GB of a device's {usable / 1e9:.1f} GB "
                "of HBM; lower --batch_size, or take more or larger chips"
            )
    return CompileError(f"the TPU compiler rejects it: {_first_line(message)}")


def _first_line(message: str) -> str:
    """Return an error's first line, without stack traces and graphs."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"
