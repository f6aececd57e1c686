"""Cost analysis of hand-written HLO whose costs are known."""

import itertools
from typing import Any

import pytest
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2

from tools.tpu import costs

F32, S32, PRED = (getattr(xla_data_pb2, name) for name in ("F32", "S32", "PRED"))
HBM, CHIP = 0, 1


class Writer:
    """Writes a module, computation by computation; ids count up."""

    def __init__(self) -> None:
        self.module = hlo_pb2.HloModuleProto()
        self._ids = itertools.count(1)

    def computation(self) -> Any:
        return self.module.computations.add(id=next(self._ids))

    def add(
        self,
        computation: Any,
        opcode: str,
        *operands: Any,
        shape: tuple[int, ...] = (),
        memory: int = HBM,
        element: int = F32,
        called: tuple[Any, ...] = (),
        **fields: Any,
    ) -> Any:
        one = computation.instructions.add(id=next(self._ids), opcode=opcode, **fields)
        one.shape.element_type = element
        one.shape.dimensions.extend(shape)
        one.shape.layout.memory_space = memory
        one.operand_ids.extend(operand.id for operand in operands)
        one.called_computation_ids.extend(each.id for each in called)
        computation.root_id = one.id
        return one

    def integer(self, computation: Any, value: int) -> Any:
        constant = self.add(computation, "constant", element=S32)
        constant.literal.s32s.append(value)
        return constant

    def condition(self, iterations: int) -> Any:
        """Return a loop condition that holds `iterations` times, as TensorFlow writes it."""
        one = self.computation()
        counter = self.add(one, "parameter", element=S32)
        limit = self.integer(one, iterations)
        self.add(one, "compare", counter, limit, element=PRED, comparison_direction="LT")
        return one

    def count(self, entry: Any, flops: dict[int, float]) -> costs.Costs:
        self.module.entry_computation_id = entry.id
        return costs.count(self.module, lambda module: flops[module.entry_computation_id])


def test_only_buffers_in_the_hbm_count() -> None:
    writer = Writer()
    entry = writer.computation()
    weights = writer.add(entry, "parameter", shape=(4, 8))
    inputs = writer.add(entry, "parameter", shape=(2, 4), memory=CHIP)
    writer.add(entry, "convolution", inputs, weights, shape=(2, 8))
    counted = writer.count(entry, {entry.id: 128.0})
    assert counted == costs.Costs(128.0, (4 * 8 + 2 * 8) * 4, 0, 0)


def test_loops_count_by_their_trip_count() -> None:
    """Five iterations with a nested loop of three: bodies of 10 and 7 FLOPs."""
    writer = Writer()
    inner = writer.computation()
    writer.add(inner, "add", writer.add(inner, "parameter", shape=(2,)), shape=(2,), memory=CHIP)
    outer = writer.computation()
    value = writer.add(outer, "parameter", shape=(2,))
    writer.add(outer, "while", value, shape=(2,), called=(inner, writer.condition(3)))
    entry = writer.computation()
    value = writer.add(entry, "parameter", shape=(2,))
    writer.add(entry, "while", value, shape=(2,), called=(outer, writer.condition(5)))
    # XLA counts each loop body once.
    counted = writer.count(entry, {inner.id: 7.0, outer.id: 17.0, entry.id: 117.0})
    assert counted.flops == 100 + 5 * (10 + 3 * 7)
    assert counted.loop_iterations == 5 + 5 * 3
    assert counted.hbm_bytes == 5 * 3 * 2 * 4


def test_a_loop_of_unknown_trip_count_counts_once() -> None:
    writer = Writer()
    body, condition, entry = (writer.computation() for _ in range(3))
    writer.add(body, "parameter", shape=(2,))
    writer.add(condition, "parameter", element=PRED)
    value = writer.add(entry, "parameter", shape=(2,))
    writer.add(entry, "while", value, shape=(2,), called=(body, condition))
    assert writer.count(entry, {body.id: 3.0, entry.id: 3.0}).flops == 3.0


def test_a_fusion_reads_only_its_slice_and_writes_only_its_update() -> None:
    """One row of 16 out of ten is read, and one written in place into the other array."""
    writer = Writer()
    fused = writer.computation()
    source, target, index = (
        writer.add(fused, "parameter", parameter_number=number, shape=shape)
        for number, shape in enumerate([(10, 16), (10, 16), ()])
    )
    row = writer.add(fused, "dynamic-slice", source, index, shape=(1, 16))
    flat = writer.add(fused, "bitcast", target, shape=(10, 16))
    writer.add(fused, "dynamic-update-slice", flat, row, index, shape=(10, 16))
    entry = writer.computation()
    operands = [writer.add(entry, "parameter", shape=shape) for shape in [(10, 16), (10, 16)]]
    index = writer.add(entry, "parameter", memory=CHIP)
    writer.add(entry, "fusion", *operands, index, shape=(10, 16), called=(fused,))
    assert writer.count(entry, {entry.id: 0.0}).hbm_bytes == 2 * 16 * 4


def test_an_asynchronous_copy_moves_its_array_once() -> None:
    writer = Writer()
    entry = writer.computation()
    value = writer.add(entry, "parameter", shape=(8,))
    copy = writer.add(entry, "copy-start", value)
    for memory in (CHIP, HBM):
        part = copy.shape.tuple_shapes.add(element_type=F32, dimensions=[8])
        part.layout.memory_space = memory
    writer.add(entry, "copy-done", copy, shape=(8,), memory=CHIP)
    assert writer.count(entry, {entry.id: 0.0}).hbm_bytes == 8 * 4


@pytest.mark.parametrize(
    ("backend_config", "cycles"),
    [(b'{"window_config": {"estimated_cycles": "768"}}', 768), (b"{}", 0), (b"\x01", 0), (b"", 0)],
)
def test_cycles_are_those_of_the_compiler(backend_config: bytes, cycles: float) -> None:
    writer = Writer()
    entry = writer.computation()
    writer.add(entry, "add", memory=CHIP, backend_config=backend_config)
    assert writer.count(entry, {entry.id: 0.0}).cycles == cycles
