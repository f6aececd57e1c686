"""The TPU's compiler, from libtpu, on a machine that has no TPU.

Only JAX hands it out. TensorFlow 2.21 and JAX live in one environment and one process, so there is
no file to hand over; an environment of its own (extra `tpu_check`) is for the versions, which are
pinned because parts of JAX that are not its public face are used here, and because a TPU machine
has another libtpu. So this says: a TPU's compiler takes the program, and what it needs. That is not
the compiler of TensorFlow's own TPU image, nothing has run, and no numbers were compared.
"""

import dataclasses
import os
from typing import Any, NamedTuple

# Read when libtpu is loaded: no machine to ask for, and no TPU to look for.
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")

import jax
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jax._src.lib.mlir import ir
from jax.experimental import topologies
from jaxlib import _hlo, _jax
from tensorflow.compiler.xla.service import hlo_pb2

from tools.tpu import chips, costs, lowering, refusals


class Memory(NamedTuple):
    """Bytes of a device's memory.

    Attributes:
      held: Between calls: weights, optimizer, the batch.
      working: While the program runs, beside what fits on the chip itself.
      code: The program.
    """

    held: float
    working: float
    code: float

    @property
    def needed(self) -> float:
        """All of it."""
        return self.held + self.working + self.code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiler made of a program.

    Attributes:
      program: What it was given.
      memory: What it needs.
      costs: Of one run.
    """

    program: lowering.Program
    memory: Memory
    costs: costs.Costs


def compile_program(program: lowering.Program, topology: chips.Topology) -> Compiled:
    """Compile a program for one device of a topology.

    Raises:
      CompileError: If the compiler refuses it; `OutOfMemoryError` if it only does not fit.
    """
    base = f"{topology.version}:{topology.chip.smallest}"
    device = topologies.get_topology_desc(base, platform="tpu").devices[0]
    with mlir.make_ir_context():
        try:
            module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(program.hlo))
            executable = device.client.compile(module, _jax.DeviceList((device,)), _options(device))
        except jax.errors.JaxRuntimeError as error:
            raise refusals.of_compiler(str(error)) from error
    return Compiled(
        program=program,
        memory=_memory(executable.get_compiled_memory_stats()),
        costs=costs.count(_optimized(executable), _count_flops),
    )


def _options(device: Any) -> Any:
    """Return what says: one replica, on this device."""
    options = xla_client.CompileOptions()
    assignment = np.array([[device.id]], np.int32)
    options.device_assignment = xla_client.DeviceAssignment.create(assignment)
    return options


def _memory(stats: Any) -> Memory:
    """Return the sizes in the compiler's words as ours; results may lie on top of arguments."""
    new_results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return Memory(
        held=stats.argument_size_in_bytes,
        working=stats.temp_size_in_bytes + new_results,
        code=stats.generated_code_size_in_bytes,
    )


def _optimized(executable: Any) -> hlo_pb2.HloModuleProto:
    (module,) = executable.hlo_modules()
    return hlo_pb2.HloModuleProto.FromString(module.as_serialized_hlo_module_proto())


def _count_flops(module: hlo_pb2.HloModuleProto) -> float:
    """Return XLA's own count, from a client of the processor: that of the TPU has none."""
    parsed = _hlo.HloModule.from_serialized_hlo_module_proto(module.SerializeToString())
    analysis = _jax.hlo_module_cost_analysis(jax.devices("cpu")[0].client, parsed)
    return float(analysis["flops"])
