"""The ready-made settings: files of flags that all three commands take."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PRESETS = sorted(ROOT.glob("flags/presets/*.flags"))
BUILDERS = {
    "create_tfrecord": "audio_flags.config dataset_flags.segment_config dataset_flags.split_config",
    "train_model": "model_flags.config window_flags.config training_flags.config "
    "training_flags.monitor_config augmentation_flags.config",
    "generate_songs": "generation_flags.config",
}
PARSE = """
import importlib, json, sys
from absl import flags
command, builders, *presets = sys.argv[1:]
importlib.import_module(command)
found = {}
for preset in presets:
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["command", f"--flagfile={preset}"])
    found[preset] = {name: str(value) for name, value in flags.FLAGS.flag_values_dict().items()}
    for builder in builders.split():
        module, function = builder.split(".")
        builds = getattr(importlib.import_module(f"flags.{module}"), function)
        if module == "window_flags":
            builds(importlib.import_module("flags.model_flags").family().predicts)
        else:
            builds()
print(json.dumps(found))
"""
LINE = re.compile(r"--(?P<name>\w+)=(?P<value>.+)")


def settings(preset: pathlib.Path) -> dict[str, str]:
    """Return the flags of a preset."""
    lines = [line for line in preset.read_text("utf-8").splitlines() if line]
    found = [LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    return {match["name"]: match["value"] for match in found if match}


def test_there_are_presets() -> None:
    assert {"default", "music", "tiny", "waveform_vae"} <= {preset.stem for preset in PRESETS}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.stem)
def test_a_preset_says_what_it_is_for_and_every_command_takes_it(preset: pathlib.Path) -> None:
    assert preset.read_text("utf-8").startswith("# ")
    found = settings(preset)
    # Each command takes what is its own, and none complains of what is another's.
    assert set(found.pop("undefok").split(",")) == set(found)


@pytest.mark.parametrize("command", BUILDERS)
def test_a_command_takes_the_settings_of_every_preset(command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PARSE, command, BUILDERS[command], *map(str, PRESETS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for preset, known in json.loads(result.stdout).items():
        asked = settings(pathlib.Path(preset))
        taken = {
            name: float(known[name]) for name in asked.keys() & known if is_number(asked[name])
        }
        assert taken == {name: float(asked[name]) for name in taken}
        assert len(taken) >= 1


def is_number(text: str) -> bool:
    """Say whether a flag's value is a number."""
    return bool(re.fullmatch(r"[\d.]+", text))


@pytest.mark.parametrize("command", ["train_model", "generate_songs"])
def test_sound_is_made_with_the_settings_of_the_analysis_alone(command: str) -> None:
    """Another hop or n_fft at inversion would change length and pitch: there is no way to ask."""
    script = f"""
import dataclasses
import {command}
from absl import flags
from lstm_gen.config.audio import AudioConfig
print(*{{one.name for one in dataclasses.fields(AudioConfig)}} & set(flags.FLAGS))
"""
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
