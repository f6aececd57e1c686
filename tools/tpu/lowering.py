"""The real training step and the real generation, as StableHLO: what a TPU's compiler is given.

TensorFlow alone does this, on any machine. Everything is traced inside `distribute.portable()`, as
on a TPU. What could not run on one is refused here: shapes that are not known when it is compiled,
and operations that XLA does not know, calls back into Python among them.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2

from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base as families
from lstm_gen.platform import devices, precision, traced_functions
from lstm_gen.training import step as steps
from tools.tpu import refusals


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be trained.

    Attributes:
      family: Model family.
      settings: The family's own configuration.
      signal: Shape of what the model reads and writes.
      training: How it is trained; the batch is the global one.
    """

    family: families.Family
    settings: Any
    signal: families.Signal
    training: TrainingConfig


class Program(NamedTuple):
    """What one call sends to the device.

    Attributes:
      name: What it does.
      calls: How often it is called.
      stablehlo: The program, as text for people.
      hlo: The same as a serialized `HloModuleProto`, which is what is handed over: the text has
        constants in a form that changes from one version of MLIR to the next.
    """

    name: str
    calls: int
    stablehlo: str
    hlo: bytes


def lower_step(plan: Plan, device_batch: int) -> Program:
    """Return one device's training step, of so many windows.

    Raises:
      CompileError: If it holds what no TPU runs.
    """
    with devices.portable(), precision.of_new_layers(plan.training.precision):
        with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
            model = plan.family.build(plan.settings, plan.signal)
            objectives = plan.family.objectives(model, plan.signal)
            optimizers = [
                steps.make_optimizer(plan.training, momentum=one.momentum) for one in objectives
            ]
            for optimizer, objective in zip(optimizers, objectives, strict=True):
                optimizer.build(objective.variables)
        step = steps.make_replica_step(objectives, optimizers, plan.training)
        arguments = (batch_spec(plan.signal, device_batch), tf.TensorSpec([], tf.int32))
        return lower("train step", 1, step, arguments)


def lower_generation(plan: Plan, controls: families.Controls, primer_frames: int) -> list[Program]:
    """Return the programs that make songs from a primer of so many frames.

    Raises:
      CompileError: If one holds what no TPU runs.
    """
    with devices.portable():
        model = plan.family.build(plan.settings, plan.signal)
        primer = np.zeros([controls.n_songs, primer_frames, plan.signal.channels], np.float32)
        labels = {
            name: np.zeros(spec.shape, spec.dtype.as_numpy_dtype)
            for name, spec in label_specs(plan.signal, controls.n_songs).items()
        }
        controls = dataclasses.replace(controls, labels=labels)
        with traced_functions.listing() as calls:
            plan.family.generate(model, plan.signal, controls, primer, lambda _: None)
        return [lower(*call) for call in calls]


def count_parameters(plan: Plan) -> int:
    """Return the trainable values of the model."""
    model = plan.family.build(plan.settings, plan.signal)
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def batch_spec(signal: families.Signal, n_windows: int) -> dict[str, tf.TensorSpec]:
    """Return the shapes of a batch, with those labels that the model is told; `models.family`."""
    frames = [n_windows, signal.timesteps + signal.shift, signal.channels]
    return {
        "frames": tf.TensorSpec(frames, tf.float32),
        "weight": tf.TensorSpec([n_windows], tf.float32),
        "recording": tf.TensorSpec([n_windows], tf.int64),
        "start_frame": tf.TensorSpec([n_windows], tf.int64),
        "row": tf.TensorSpec([n_windows], tf.int64),
        **label_specs(signal, n_windows),
    }


def label_specs(signal: families.Signal, n_examples: int) -> dict[str, tf.TensorSpec]:
    """Return the shapes of the labels that a model is told."""
    specs = {}
    for one in signal.conditions:
        shape = [one.n_values] if one.kind == "multi" else []
        dtype = tf.int64 if one.kind == "class" else tf.float32
        specs[f"label/{one.name}"] = tf.TensorSpec([n_examples, *shape], dtype)
    return specs


def lower(
    name: str, calls: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Program:
    """Lower a function of tensors (or structures of them).

    Args:
      name: What it does.
      calls: How often it is called.
      function: What to lower; variables that it reads or moves become arguments and results.
      arguments: A `tf.TensorSpec` in place of each tensor.

    Raises:
      CompileError: If it holds what no TPU runs.
    """

    def flat(*leaves: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(arguments, leaves))

    compiled = tf.function(flat, jit_compile=True)
    try:
        stage = compiled.experimental_get_compiler_ir(*tf.nest.flatten(arguments))
        program = Program(name, calls, stage("stablehlo"), _without_copies(stage("hlo_serialized")))
    except (tf.errors.OpError, NotImplementedError, ValueError) as error:
        raise refusals.of_tensorflow(str(error)) from error
    unknown = re.search(r"tensor<([^,>]*\?[^,>]*)", program.stablehlo)
    if unknown:
        raise refusals.CompileError(f"a shape is not known when it is compiled: {unknown[1]}")
    return program


def _without_copies(hlo: bytes) -> bytes:
    """Return a module without copies, which StableHLO does not have.

    TensorFlow copies the new values of variables; a conversion to the same type does the same.
    """
    module = hlo_pb2.HloModuleProto.FromString(hlo)
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode == "copy":
                instruction.opcode = "convert"
    return module.SerializeToString()
