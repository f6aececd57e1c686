"""Cost analysis of compiled HLO: FLOPs, HBM traffic, loop iterations, estimated cycles.

XLA's own analysis counts a loop's body once, and counts buffers in on-chip memory as HBM traffic.
For a recurrent model that is wrong by a factor of the number of frames. This analysis multiplies
each loop by its trip count and counts only buffers in the HBM.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

_HBM = 0  # memory space of a layout
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("while", "conditional", "call", "copy-done", "async-done", "async-update"),
}
_SLICES = {"slice", "dynamic-slice", "gather"}
_UPDATE = "dynamic-update-slice"


class Costs(NamedTuple):
    """Costs of one execution of a program.

    Attributes:
      flops: Floating-point operations.
      hbm_bytes: Bytes read from and written to the HBM.
      loop_iterations: Sequential loop iterations.
      cycles: Core cycles estimated by the compiler's cost model.
    """

    flops: float
    hbm_bytes: float
    loop_iterations: float
    cycles: float

    def times(self, count: int) -> "Costs":
        """Return the costs of `count` executions."""
        return Costs(*(value * count for value in self))

    def plus(self, other: "Costs") -> "Costs":
        """Return the sum of both costs."""
        return Costs(*(a + b for a, b in zip(self, other, strict=True)))


def count(
    module: hlo_pb2.HloModuleProto, count_flops: Callable[[hlo_pb2.HloModuleProto], float]
) -> Costs:
    """Return the costs of a compiled program.

    Args:
      module: Optimised HLO of the TPU compiler: fused, scheduled and laid out.
      count_flops: Function (module) -> FLOPs that counts each loop body once.
    """
    return _Counter(module, count_flops).count(module.entry_computation_id)


class _Counter:
    """Cost counter of one module's computations, loops included."""

    def __init__(self, module: Any, count_flops: Callable[[Any], float]) -> None:
        self._module, self._count_flops = module, count_flops
        self._computations = {one.id: one for one in module.computations}
        self._flops_of: dict[int, float] = {}
        self._instructions = {i.id: i for one in module.computations for i in one.instructions}

    def count(self, computation_id: int) -> Costs:
        """Return the costs of the entry computation or of one iteration of a loop body."""
        total = Costs(self._flops(computation_id), 0.0, 0, 0.0)
        return total.plus(self._count_called(computation_id))

    def _count_called(self, computation_id: int) -> Costs:
        """Return the costs that `_flops` does not include: traffic, cycles, further iterations."""
        total = Costs(0.0, 0.0, 0, 0.0)
        for instruction in self._computations[computation_id].instructions:
            called = list(instruction.called_computation_ids)
            if instruction.opcode == "while":
                body, condition = called
                iterations = self._iterations(condition)
                each = self.count(body)
                counted = Costs(-self._flops(body), 0.0, iterations, 0.0)
                total = total.plus(each.times(iterations)).plus(counted)
            elif instruction.opcode in ("conditional", "call"):
                for one in called:
                    total = total.plus(self._count_called(one))
            else:
                total = total.plus(Costs(0.0, self._traffic(instruction), 0, _cycles(instruction)))
        return total

    def _flops(self, computation_id: int) -> float:
        """Return the FLOPs of a computation, each loop body counted once."""
        if computation_id not in self._flops_of:
            self._flops_of[computation_id] = self._count_flops(self._part(computation_id))
        return self._flops_of[computation_id]

    def _part(self, computation_id: int) -> Any:
        """Return a module whose entry is this computation."""
        part = hlo_pb2.HloModuleProto()
        part.CopyFrom(self._module)
        for field in ("input_output_alias", "buffer_donor", "schedule"):
            part.ClearField(field)
        computation = self._computations[computation_id]
        part.entry_computation_id, part.entry_computation_name = computation.id, computation.name
        part.host_program_shape.CopyFrom(computation.program_shape)
        return part

    def _iterations(self, condition_id: int) -> int:
        """Return a loop's trip count, 1 if it is not known.

        TensorFlow's loops count from 0 by 1 while the counter is less than a constant.
        """
        limits = [
            _integer(self._instructions[operand])
            for instruction in self._within(condition_id)
            if instruction.opcode == "compare" and instruction.comparison_direction == "LT"
            for operand in instruction.operand_ids
            if self._instructions[operand].opcode == "constant"
        ]
        return max(0, min(limits)) if limits else 1

    def _within(self, computation_id: int) -> Iterator[Any]:
        """Yield the instructions of a computation and of all computations that it calls."""
        for instruction in self._computations[computation_id].instructions:
            yield instruction
            for called in instruction.called_computation_ids:
                yield from self._within(called)

    def _traffic(self, instruction: Any) -> float:
        """Return the HBM bytes that an instruction reads and writes."""
        if instruction.opcode in _FREE or instruction.custom_call_target == "AllocateBuffer":
            return 0.0
        operands = [self._instructions[operand] for operand in instruction.operand_ids]
        read = sum(
            min(_in_hbm(operand.shape), self._read(instruction, index))
            for index, operand in enumerate(operands)
        )
        return read + sum(
            min(_in_hbm(shape), self._written(instruction, index))
            for index, shape in enumerate(_results(instruction))
        )

    def _read(self, instruction: Any, index: int) -> float:
        """Return the bytes that an instruction reads of an operand."""
        if instruction.opcode in ("fusion", "async-start"):
            inside = self._computations[instruction.called_computation_ids[0]].instructions
            parameter = next(
                i for i in inside if i.opcode == "parameter" and i.parameter_number == index
            )
            return self._read_inside(parameter, inside)
        return self._read_by(instruction, index, ())

    def _read_inside(self, value: Any, inside: Any) -> float:
        """Return the bytes that the instructions of a fusion read of a value."""
        return sum(
            self._read_by(user, position, inside)
            for user in inside
            for position, operand in enumerate(user.operand_ids)
            if operand == value.id
        )

    def _read_by(self, user: Any, position: int, inside: Any) -> float:
        """Return the bytes that an instruction reads of the operand at a position."""
        if user.opcode in _SLICES and position == 0:
            return _bytes(user.shape)
        if user.opcode == _UPDATE and position == 0:
            return 0.0  # updated in place
        if user.opcode == "bitcast" and inside:
            return self._read_inside(user, inside)
        return math.inf  # all of it

    def _written(self, instruction: Any, index: int) -> float:
        """Return the bytes that an instruction writes of a result."""
        if instruction.opcode == "fusion":
            inside = self._computations[instruction.called_computation_ids[0]]
            instruction = self._instructions[inside.root_id]
            if instruction.opcode == "tuple":
                instruction = self._instructions[instruction.operand_ids[index]]
        while instruction.opcode == "bitcast":
            instruction = self._instructions[instruction.operand_ids[0]]
        if instruction.opcode == _UPDATE:
            return _bytes(self._instructions[instruction.operand_ids[1]].shape)
        return math.inf  # all of it


def _results(instruction: Any) -> list[Any]:
    """Return the shapes of an instruction's outputs; those of async starts also list inputs."""
    shapes = list(instruction.shape.tuple_shapes) or [instruction.shape]
    if instruction.opcode == "copy-start":
        return shapes[:1]
    return shapes[1:2] if instruction.opcode == "async-start" else shapes


def _in_hbm(shape: Any) -> float:
    """Return an array's bytes if its layout is in the HBM, else 0; tuples hold no data."""
    return _bytes(shape) if shape.layout.memory_space == _HBM else 0.0


def _bytes(shape: Any) -> float:
    """Return the size of an array, bytes, without tile padding."""
    name = xla_data_pb2.PrimitiveType.Name(shape.element_type)
    digits = re.search(r"\d+", name)
    bits = 8 if name == "PRED" else int(digits[0]) if digits else 0
    return math.prod(shape.dimensions) * bits / 8


def _integer(constant: Any) -> int:
    literal = constant.literal
    return int([*literal.s32s, *literal.s64s][0])


def _cycles(instruction: Any) -> float:
    """Return the cycles that the compiler estimates for an instruction; 0 if it gives none."""
    try:
        config = json.loads(instruction.backend_config or "{}")
    except ValueError:
        return 0.0
    return float(config.get("window_config", {}).get("estimated_cycles", 0))
