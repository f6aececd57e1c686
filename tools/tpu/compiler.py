"""TPU compiler: libtpu through JAX, on a machine without a TPU.

Only JAX gives access to libtpu's compiler. TensorFlow 2.21 and JAX share one process, so programs
are passed in memory. The extra `tpu_check` has an environment of its own: it pins the versions of
JAX (private API is used here) and of libtpu (a TPU VM has another one). A program that compiles
here is accepted by a TPU compiler, not by that of TensorFlow's TPU image; nothing is executed and
no numbers are compared.
"""

import dataclasses
import os
from typing import Any, NamedTuple

# libtpu reads these when it is loaded: no metadata server and no TPU on this machine.
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

from tools.tpu import chips, costs, lowering


class Memory(NamedTuple):
    """HBM use of a program on one device, bytes.

    Attributes:
      arguments: Inputs, resident between calls: weights, optimizer state, batch.
      temporaries: Working memory and outputs; buffers in on-chip memory do not count.
      code: Machine code.
    """

    arguments: float
    temporaries: float
    code: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.arguments + self.temporaries + self.code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compiled:
    """Compiled program.

    Attributes:
      program: The source program.
      memory: HBM use.
      costs: Costs of one execution.
    """

    program: lowering.Program
    memory: Memory
    costs: costs.Costs


def compile_program(program: lowering.Program, topology: chips.Topology) -> Compiled:
    """Compile a program for one device of a topology.

    Raises:
      CompileError: If the compiler rejects the program.
      OutOfMemoryError: If the program does not fit in the device's HBM.
    """
    base = f"{topology.version}:{topology.chip.smallest}"
    device = topologies.get_topology_desc(base, platform="tpu").devices[0]
    with mlir.make_ir_context():
        try:
            module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(program.hlo))
            executable = device.client.compile(module, _jax.DeviceList((device,)), _options(device))
        except jax.errors.JaxRuntimeError as error:
            raise lowering.compiler_error(str(error)) from error
    return Compiled(
        program=program,
        memory=_memory(executable.get_compiled_memory_stats()),
        costs=costs.count(_optimized(executable), _count_flops),
    )


def _options(device: Any) -> Any:
    """Return compile options for a single replica on this device."""
    options = xla_client.CompileOptions()
    assignment = np.array([[device.id]], np.int32)
    options.device_assignment = xla_client.DeviceAssignment.create(assignment)
    return options


def _memory(stats: Any) -> Memory:
    """Return the compiler's memory statistics; outputs may alias arguments."""
    new_outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return Memory(
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.temp_size_in_bytes + new_outputs,
        code=stats.generated_code_size_in_bytes,
    )


def _optimized(executable: Any) -> hlo_pb2.HloModuleProto:
    (module,) = executable.hlo_modules()
    return hlo_pb2.HloModuleProto.FromString(module.as_serialized_hlo_module_proto())


def _count_flops(module: hlo_pb2.HloModuleProto) -> float:
    """Return XLA's FLOP count, from the CPU client: the TPU client offers none."""
    parsed = _hlo.HloModule.from_serialized_hlo_module_proto(module.SerializeToString())
    analysis = _jax.hlo_module_cost_analysis(jax.devices("cpu")[0].client, parsed)
    return float(analysis["flops"])
