import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
import tiny

from lstm_gen.dataset.input import pipeline
from lstm_gen.models import base
from lstm_gen.platform import traced_functions
from tools.tpu import lowering

pytestmark = pytest.mark.xla

ROOT = pathlib.Path(__file__).parents[2]
PRESETS = sorted(path.stem for path in (ROOT / "flags/presets").glob("*.flags"))
# Runs in a process of its own, as the command does. Prints the lowered programs of each preset.
LOWER_ALL = """
import dataclasses
import json
from lstm_gen.cli import command
from tools import check_tpu
from tools.tpu import lowering

def main(line):
    lowered = {}
    for name in line.build(check_tpu.TPUConfig).names:
        plan, controls, primer_frames = check_tpu.read_plan(line.with_preset(name))
        found = lowering.lower_generation(plan, controls, primer_frames)
        for precision in ("bfloat16", "float32"):
            training = dataclasses.replace(plan.training, precision=precision)
            step = lowering.lower_step(dataclasses.replace(plan, training=training), 16)
            found.insert(0, step)
        lowered[name] = [one.stablehlo for one in found]
    print(json.dumps(lowered))

command.run(main, check_tpu.SETTINGS)
"""


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", pytest.param("all", marks=pytest.mark.faults)])
def test_every_preset_lowers(preset: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOWER_ALL, f"--preset={preset}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    lowered = json.loads(result.stdout)
    assert sorted(lowered) == (PRESETS if preset == "all" else [preset])
    for in_float32, in_bfloat16, *songs in lowered.values():
        assert "bf16" not in in_float32
        assert "bf16" in in_bfloat16
        assert songs
        for text in (in_float32, in_bfloat16, *songs):
            assert "@main" in text
            assert "?" not in text
            assert "custom_call" not in text


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
