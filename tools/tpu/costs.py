"""What a compiled program costs: arithmetic, traffic with the HBM, turns of loops.

XLA's own analysis counts the body of a loop once, and buffers that the compiler has placed on the
chip as if they were in the HBM. For a recurrent model that is wrong by the number of frames, so
loops are counted here as often as they turn, and bytes only where a buffer lies in the HBM.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

_HBM = 0  # a layout's memory space
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("while", "conditional", "call", "copy-done", "async-done", "async-update"),
}
_SLICES = {"slice", "dynamic-slice", "gather"}
_UPDATE = "dynamic-update-slice"


class Costs(NamedTuple):
    """Of one run of a program.

    Attributes:
      flops: Floating-point operations.
      hbm_bytes: Read from and written to the HBM.
      loop_turns: Turns of loops, which follow one after another.
      cycles: Of the core, as the compiler reckons when it chooses among ways to compile.
    """

    flops: float
    hbm_bytes: float
    loop_turns: float
    cycles: float

    def times(self, count: int) -> "Costs":
        """Return the costs of so many runs."""
        return Costs(*(value * count for value in self))

    def plus(self, other: "Costs") -> "Costs":
        """Return the costs of both."""
        return Costs(*(a + b for a, b in zip(self, other, strict=True)))


def count(
    module: hlo_pb2.HloModuleProto, count_flops: Callable[[hlo_pb2.HloModuleProto], float]
) -> Costs:
    """Return what a compiled program costs.

    Args:
      module: The program as the TPU's compiler leaves it: fused, scheduled and laid out.
      count_flops: The operations of a module, each loop's body counted once.
    """
    return _Counter(module, count_flops).count(module.entry_computation_id)


class _Counter:
    """Counts a module's computations, each with the loops in it."""

    def __init__(self, module: Any, count_flops: Callable[[Any], float]) -> None:
        self._module, self._count_flops = module, count_flops
        self._computations = {one.id: one for one in module.computations}
        self._known: dict[int, float] = {}
        self._instructions = {i.id: i for one in module.computations for i in one.instructions}

    def count(self, computation_id: int) -> Costs:
        """Return the costs of a computation of its own, as the entry or a loop's body is."""
        total = Costs(self._flops(computation_id), 0.0, 0, 0.0)
        return total.plus(self._count_called(computation_id))

    def _count_called(self, computation_id: int) -> Costs:
        """Return all but the operations that `count` has counted already."""
        total = Costs(0.0, 0.0, 0, 0.0)
        for instruction in self._computations[computation_id].instructions:
            called = list(instruction.called_computation_ids)
            if instruction.opcode == "while":
                body, condition = called
                turns = self._turns(condition)
                each = self.count(body)
                once = Costs(-self._flops(body), 0.0, turns, 0.0)
                total = total.plus(each.times(turns)).plus(once)
            elif instruction.opcode in ("conditional", "call"):
                for one in called:
                    total = total.plus(self._count_called(one))
            else:
                total = total.plus(Costs(0.0, self._traffic(instruction), 0, _cycles(instruction)))
        return total

    def _flops(self, computation_id: int) -> float:
        """Return the operations of a computation, loops in it counted once."""
        if computation_id not in self._known:
            self._known[computation_id] = self._count_flops(self._part(computation_id))
        return self._known[computation_id]

    def _part(self, computation_id: int) -> Any:
        """Return a module that runs this computation and no more."""
        part = hlo_pb2.HloModuleProto()
        part.CopyFrom(self._module)
        for field in ("input_output_alias", "buffer_donor", "schedule"):
            part.ClearField(field)
        computation = self._computations[computation_id]
        part.entry_computation_id, part.entry_computation_name = computation.id, computation.name
        part.host_program_shape.CopyFrom(computation.program_shape)
        return part

    def _turns(self, condition_id: int) -> int:
        """Return how often a loop turns.

        TensorFlow's loops count up from 0 by 1 until a counter is no longer less than a limit,
        which the compiler has made a constant. Where there is none, the loop is counted once.
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
        """Yield the instructions of a computation and of those that it calls."""
        for instruction in self._computations[computation_id].instructions:
            yield instruction
            for called in instruction.called_computation_ids:
                yield from self._within(called)

    def _traffic(self, instruction: Any) -> float:
        """Return the bytes that an instruction reads from the HBM and writes to it."""
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
        """Return how many bytes of an operand are looked at."""
        if instruction.opcode in ("fusion", "async-start"):
            inside = self._computations[instruction.called_computation_ids[0]].instructions
            parameter = next(
                i for i in inside if i.opcode == "parameter" and i.parameter_number == index
            )
            return self._read_inside(parameter, inside)
        return self._read_by(instruction, index, ())

    def _read_inside(self, value: Any, inside: Any) -> float:
        """Return how many bytes of a value the instructions beside it look at."""
        return sum(
            self._read_by(user, position, inside)
            for user in inside
            for position, operand in enumerate(user.operand_ids)
            if operand == value.id
        )

    def _read_by(self, user: Any, position: int, inside: Any) -> float:
        """Return how many bytes an instruction looks at of its operand at a position."""
        if user.opcode in _SLICES and position == 0:
            return _bytes(user.shape)
        if user.opcode == _UPDATE and position == 0:
            return 0.0  # it is changed in place
        if user.opcode == "bitcast" and inside:
            return self._read_inside(user, inside)
        return math.inf  # all of it

    def _written(self, instruction: Any, index: int) -> float:
        """Return how many bytes of a result are new."""
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
    """Return the shapes that an instruction fills; a copy or slice that starts lists more."""
    shapes = list(instruction.shape.tuple_shapes) or [instruction.shape]
    if instruction.opcode == "copy-start":
        return shapes[:1]
    return shapes[1:2] if instruction.opcode == "async-start" else shapes


def _in_hbm(shape: Any) -> float:
    """Return the bytes of an array if it lies in the HBM, else 0; a tuple is only named."""
    return _bytes(shape) if shape.layout.memory_space == _HBM else 0.0


def _bytes(shape: Any) -> float:
    """Return the size of an array, without the padding of its tiles."""
    name = xla_data_pb2.PrimitiveType.Name(shape.element_type)
    digits = re.search(r"\d+", name)
    bits = 8 if name == "PRED" else int(digits[0]) if digits else 0
    return math.prod(shape.dimensions) * bits / 8


def _integer(constant: Any) -> int:
    literal = constant.literal
    return int([*literal.s32s, *literal.s64s][0])


def _cycles(instruction: Any) -> float:
    """Return what the compiler reckons that an instruction takes; 0 where it does not say."""
    try:
        config = json.loads(instruction.backend_config or "{}")
    except ValueError:
        return 0.0
    return float(config.get("window_config", {}).get("estimated_cycles", 0))
