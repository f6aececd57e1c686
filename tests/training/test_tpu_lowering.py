import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen import models, programs, training_config
from lstm_gen.data import pipeline
from lstm_gen.models import family as families
from lstm_gen.training.tpu import lowering, refusals

ROOT = pathlib.Path(__file__).parents[2]
PRESETS = sorted(path.stem for path in (ROOT / "flags/presets").glob("*.flags"))
SIGNAL = families.Signal(channels=6, timesteps=10, shift=2)
CONTROLS = families.Controls(n_songs=2, n_frames=300)
# A process of its own, since every command has its own flags. Prints name -> [precision, program].
LOWER_ALL = """
import json
from flags import command
from lstm_gen.training.tpu import lowering
from tools import check_tpu

def main():
    lowered = {}
    for name, path in check_tpu.tpu_flags.presets().items():
        with command.preset(path):
            plan, controls, primer_frames = check_tpu.read_flags()
        step = lowering.lower_step(plan, plan.training.batch_size)
        songs = lowering.lower_generation(plan, controls, primer_frames)
        lowered[name] = [one.stablehlo for one in (step, *songs)]
    print(json.dumps(lowered))

command.run(main)
"""


def make_plan(family: families.Family, precision: str = "float32") -> lowering.Plan:
    training = training_config.TrainingConfig(batch_size=4, precision=precision)
    return lowering.Plan(
        family=family, settings=family.config_class(), signal=SIGNAL, training=training
    )


@pytest.fixture(params=models.FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> families.Family:
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_preset_lowers(precision: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOWER_ALL, "--preset=all", f"--precision={precision}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lowered = json.loads(result.stdout)
    assert sorted(lowered) == PRESETS
    for step, *songs in lowered.values():
        assert ("bf16" in step) == (precision == "bfloat16")
        assert songs
        for text in (step, *songs):
            assert "stablehlo.while" in text or "@main" in text
            assert "?" not in text
            assert "custom_call" not in text
            assert "mhlo.copy" not in text


def test_every_family_generates_by_programs(family: families.Family) -> None:
    plan = make_plan(family)
    model = family.build(plan.settings, plan.signal)
    primer = np.ones([2, 7, SIGNAL.channels], np.float32)
    with programs.listing() as calls:
        frames = family.generate(model, SIGNAL, CONTROLS, primer, lambda _: None)
    assert frames.shape == (CONTROLS.n_songs, CONTROLS.n_frames, SIGNAL.channels)
    assert not frames.any()
    assert calls
    assert family.generate(model, SIGNAL, CONTROLS, primer, lambda _: None).any()
    lowered = lowering.lower_generation(plan, CONTROLS, 7)
    assert [(one.name, one.calls) for one in lowered] == [(one.name, one.calls) for one in calls]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_family_trains_in_one_program(family: families.Family, precision: str) -> None:
    before = tf.keras.config.dtype_policy()
    text = lowering.lower_step(make_plan(family, precision), 3).stablehlo
    assert tf.keras.config.dtype_policy() == before
    assert "tensor<3x12x6xf32>" in text  # a device's windows, not the batch of 4
    assert ("bf16" in text) == (precision == "bfloat16")


def test_the_batch_is_that_of_the_pipeline(tmp_path: pathlib.Path) -> None:
    dataset = tiny.make_dataset(tmp_path / "dataset")
    windows = pipeline.windows(dataset, "train", tiny.WINDOW, 4, 0)
    signal = families.Signal(channels=tiny.AUDIO.channels, timesteps=8, shift=1)
    assert lowering.batch_spec(signal, 4) == windows.element_spec


def test_programs_are_listed_once_for_each_shape() -> None:
    @programs.program
    def double(values: Any) -> Any:
        return {"twice": 2 * values}

    with programs.listing() as calls:
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
        (keep_positive, 3, r"a shape is not known when it is compiled: \?xf32"),
        (leave, None, "XLA cannot lower it: Only support static input shape"),
    ],
)
def test_what_no_tpu_runs_is_refused_in_one_line(
    function: Callable[[Any], Any], frames: int | None, reason: str
) -> None:
    with pytest.raises(refusals.CompileError, match=reason) as refused:
        lowering.lower(function, (tf.TensorSpec([frames], tf.float32),))
    assert "\n" not in str(refused.value)
