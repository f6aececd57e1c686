import dataclasses
import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
import tiny

from lstm_gen.cli import command, settings
from lstm_gen.dataset.input import pipeline
from lstm_gen.models import base
from lstm_gen.platform import traced_functions
from tools import check_tpu
from tools.tpu import lowering

pytestmark = pytest.mark.xla

PRESETS = settings.preset_names()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "tiny" else pytest.mark.faults) for name in PRESETS],
)
def test_every_preset_lowers(name: str) -> None:
    line = settings.CommandLine(check_tpu.SETTINGS, command.known_flags)
    plan, songs, primer_frames = check_tpu.read_plan(line.with_preset(name))
    for precision in ("bfloat16", "float32"):
        training = dataclasses.replace(plan.training, precision=precision)
        step = lowering.lower_step(dataclasses.replace(plan, training=training), 16)
        assert ("bf16" in step.stablehlo) == (precision == "bfloat16")
        assert_compilable(step)
    generation = lowering.lower_generation(plan, songs, primer_frames)
    assert generation
    for program in generation:
        assert_compilable(program)


def assert_compilable(program: lowering.Program) -> None:
    """Check that a program has an entry, static shapes and no calls into the host."""
    assert "@main" in program.stablehlo
    assert "?" not in program.stablehlo
    assert "custom_call" not in program.stablehlo


def test_the_batch_is_that_of_the_pipeline(tmp_path: pathlib.Path) -> None:
    dataset = tiny.make_dataset(tmp_path / "dataset")
    windows = pipeline.windows(dataset, "train", tiny.WINDOW, 4, 0)
    spec = base.FrameSpec(audio=tiny.AUDIO, timesteps=8, shift=1)
    assert lowering.batch_spec(spec, 4) == windows.element_spec


def test_programs_are_listed_once_for_each_shape() -> None:
    @traced_functions.program
    def double(values: Any) -> Any:
        return {"twice": 2 * values}

    with traced_functions.listing() as calls:
        for n_values in (3, 3, 2):
            assert double(tf.ones([n_values]))["twice"].shape == (n_values,)
    assert [(one.name, one.calls) for one in calls] == [("double", 2), ("double", 1)]
    assert calls[1].arguments == (tf.TensorSpec([2], tf.float32),)
    assert double(tf.ones([1]))["twice"].numpy() == [2.0]


def call_python(values: Any) -> Any:
    return tf.numpy_function(lambda x: x, [values], tf.float32)


def keep_positive(values: Any) -> Any:
    return tf.boolean_mask(values, values > 0)


def write_text(values: Any) -> Any:
    return tf.strings.length(tf.strings.as_string(values))


def leave(values: Any) -> Any:
    return values


@pytest.mark.parametrize(
    ("function", "frames", "reason"),
    [
        (call_python, 3, "XLA has no PyFunc: that operation runs on a host only"),
        (write_text, 3, "XLA has no AsString"),
        (keep_positive, 3, r"a shape is not known at compile time: \?xf32"),
        (leave, None, "XLA cannot lower it: Only support static input shape"),
    ],
)
def test_what_cannot_run_on_a_tpu_is_a_one_line_error(
    function: Callable[[Any], Any], frames: int | None, reason: str
) -> None:
    with pytest.raises(lowering.CompileError, match=reason) as error:
        lowering.lower("test", 1, function, (tf.TensorSpec([frames], tf.float32),))
    assert "\n" not in str(error.value)


OUT = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 24.00G of 15.75G hbm. So.\nX"
EARLY = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (24.00G) exceeds available HBM (15.75G)."
)


@pytest.mark.parametrize("message", [OUT, EARLY])
def test_an_out_of_memory_error_states_both_sizes(message: str) -> None:
    error = lowering.compiler_error(message)
    assert isinstance(error, lowering.OutOfMemoryError)
    assert re.search(
        r"at least 25\.8 GB of a device's 16\.9 GB of HBM; lower --batch_size", str(error)
    )


def test_other_errors_keep_their_first_line() -> None:
    error = lowering.compiler_error("\nUnexpected operand type for FFT: c128\nstack\n")
    assert not isinstance(error, lowering.OutOfMemoryError)
    assert str(error) == "the TPU compiler rejects it: Unexpected operand type for FFT: c128"
    assert str(lowering.compiler_error("")).endswith("no reason given")
