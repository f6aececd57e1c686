"""Presets and flag files: one file of settings serves all commands."""

import importlib
import pathlib
import re

import pytest
from absl import flags

from lstm_gen import models
from lstm_gen.cli import command, settings, train
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

PRESETS = settings.preset_names()
LINE = re.compile(r"--(?P<name>\w+)=(?P<value>.+)")


def command_line(name: str, *arguments: str) -> settings.CommandLine:
    """Return the parsed command line of a command."""
    module = importlib.import_module(command.COMMANDS[name].module)
    line = settings.CommandLine(module.SETTINGS, command.known_flags)
    line.parse([name, *arguments])
    return line


def lines_of(preset: str) -> dict[str, str]:
    """Return the flags of a preset."""
    lines = settings.preset_file(preset).read_text("utf-8").splitlines()
    found = [LINE.fullmatch(line) for line in lines if line and not line.startswith("#")]
    return {match["name"]: match["value"] for match in found if match}


@pytest.fixture
def presets_dir(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Let presets be the files of an empty folder."""
    monkeypatch.setattr(settings, "_presets_dir", lambda: tmp_path)
    return tmp_path


def test_there_are_presets() -> None:
    assert {"default", "long", "tiny", "waveform_vae"} <= set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_what_it_is_for(preset: str) -> None:
    text = settings.preset_file(preset).read_text("utf-8")
    assert text.startswith("# ")
    assert "undefok" not in text
    flags_written = [line for line in text.splitlines() if line.startswith("-")]
    assert len(flags_written) == len(lines_of(preset)), "a flag stands twice, or has no value"


@pytest.mark.parametrize("way", ["--preset={name}", "--flagfile={path}"])
@pytest.mark.parametrize("name", ["prepare", "train", "generate"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_command_takes_its_own_settings_of_every_preset(preset: str, name: str, way: str) -> None:
    line = command_line(name, way.format(name=preset, path=settings.preset_file(preset)))
    own = settings.flag_names(line.kinds)
    taken = {flag: value for flag, value in lines_of(preset).items() if flag in own}
    assert taken
    assert all(line.is_given(flag) for flag in taken)
    for flag, value in taken.items():
        kind = type(line.value(flag))
        assert line.value(flag) == (value == "true" if kind is bool else kind(value))
    for kind in line.kinds:
        chosen = kind not in models.CONFIGS or getattr(kind, "family", "") == line.value("model")
        if chosen:
            line.build(kind)


@pytest.mark.parametrize("name", ["train", "generate"])
def test_sound_is_made_with_the_settings_of_the_analysis_alone(name: str) -> None:
    """Another hop or n_fft at inversion would change length and pitch: there is no way to ask."""
    own = settings.flag_names(command_line(name).kinds)
    assert not settings.flag_names([AudioConfig]) & own


def test_flags_win_over_a_preset_wherever_they_stand() -> None:
    (value,) = {lines_of("tiny")["units"]}
    assert value == "256"
    for arguments in (("--units=7", "--preset=tiny"), ("--preset=tiny", "--units=7")):
        line = command_line("train", *arguments)
        assert (line.value("units"), line.value("steps")) == (7, 400)
    assert command_line("train").value("units") == 512, "each command line has flags of its own"


def test_a_flag_file_wins_over_a_preset(tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.flags").write_text("--units=7\n")
    for arguments in (["--preset=tiny"], []):
        line = command_line("train", f"--flagfile={tmp_path / 'mine.flags'}", *arguments)
        assert line.value("units") == 7


def test_a_repeated_flag_is_not_mixed_with_a_presets(presets_dir: pathlib.Path) -> None:
    (presets_dir / "one.flags").write_text("--label=pitch=60\n--label=velocity=5\n")
    assert command_line("generate", "--preset=one").value("label") == ["pitch=60", "velocity=5"]
    line = command_line("generate", "--preset=one", "--label=pitch=62")
    assert line.value("label") == ["pitch=62"]


def test_a_preset_that_is_not_there_is_refused_naming_those_that_are() -> None:
    with pytest.raises(errors.InputError, match=r"one of autoencoder, .*tiny.*preset='nosuch'"):
        command_line("check", "--preset=nosuch")


def test_a_flag_that_no_command_has_is_refused_naming_the_file(presets_dir: pathlib.Path) -> None:
    path = presets_dir / "odd.flags"
    path.write_text("--units=3\n--unnits=3\n")
    for argument in ("--preset=odd", f"--flagfile={path}"):
        with pytest.raises(errors.InputError, match=rf"{path} .*none has --unnits.*--unnits=3"):
            command_line("prepare", argument)


def test_flag_files_may_be_nested_and_name_what_is_unknown(tmp_path: pathlib.Path) -> None:
    (tmp_path / "outer.flags").write_text(
        f"// settings\n--undefok=elsewhere,units\n--elsewhere=1\n"
        f"--flagfile={tmp_path / 'inner.flags'}\n--steps=9\n"
    )
    (tmp_path / "inner.flags").write_text("--units=5\n--steps=8\n--nopolarity\n--n_mels=40\n")
    line = command_line("train", "--flagfile", str(tmp_path / "outer.flags"))
    assert [line.value(name) for name in ("units", "steps", "polarity")] == [5, 9, False]
    with pytest.raises(flags.Error, match=r"missing\.flags"):
        command_line("train", f"--flagfile={tmp_path / 'missing.flags'}")


def test_a_shared_flag_keeps_each_models_own_default() -> None:
    line = command_line("train")
    sizes = {kind.family: line.build(kind).latent_size for kind in models.CONFIGS[1:4]}
    assert sizes == {"autoencoder": 64, "vae": 16, "waveform_vae": 16}
    line = command_line("train", "--latent_size=5", "--vae_width=6", "--condition=b, a,")
    assert {line.build(kind).latent_size for kind in models.CONFIGS[1:4]} == {5}
    assert line.build(models.config_class("vae")).width == 6
    assert line.build(train.ModelConfig).labels == ("a", "b")
