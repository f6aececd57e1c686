"""Public API: `import lstm_gen`."""

import inspect
import json
import pathlib
import re
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import soundfile

import lstm_gen
from lstm_gen.platform import errors

RATE = 4000
# Settings with which the documented lines run in seconds.
SMALL = {
    '"dataset", preset="tiny")': '"dataset", preset="tiny", **PREPARE)',
    "steps=400)": "steps=4, **TRAIN)",
    "seconds=10.0, seed=1)": "seconds=1.0)",
}
DEFINITIONS = """
PREPARE = dict(sample_rate=4000, n_fft=256, hop_length=128, n_mels=8, workers=2)
TRAIN = dict(timesteps=16, layers=1, units=8, batch_size=2, components=2, validate_every_steps=2,
             sample_every_steps=0)
"""
MORE = """
import json
from lstm_gen.cli import command, generate

songs = run.generate(n_songs=2, seconds=1)
for song in songs:
    song.write(f"{song.name}.wav")
assert [one.name for one in songs] == ["song-000", "song-001"]
assert songs[0].samples.dtype == "float32" and songs[0].samples.ndim == 1
assert songs[0].sample_rate == run.config.audio.sample_rate == 4000
assert run.config.training.steps == 4
try:
    run.generate(n_song=3)
except ValueError as error:
    print(json.dumps([run.directory, str(error)]))
line = ["generate", "--run_dir=run", "--n_songs=2", "--seconds=1"]
assert command.execute(generate.main, generate.SETTINGS, line) == 0
"""


def documented_lines() -> str:
    """Return the example of the README, which is also that of the package's docstring."""
    readme = (pathlib.Path(lstm_gen.__file__).parents[1] / "README.md").read_text("utf-8")
    (lines,) = re.findall(r"^```python\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    assert textwrap.indent(lines, "    ") in (lstm_gen.__doc__ or "")
    return str(lines)


def run_script(code: str, folder: pathlib.Path) -> str:
    """Run a file of Python, without a main guard, in a folder; return its standard output."""
    (folder / "script.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env={"PYTHONPATH": str(pathlib.Path(lstm_gen.__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def write_recordings(folder: pathlib.Path) -> None:
    """Write two short recordings."""
    folder.mkdir()
    seconds = np.arange(20 * RATE) / RATE
    for pitch_hz in (220, 330):
        tone = 0.3 * np.sin(2 * np.pi * pitch_hz * seconds) * np.exp(-(seconds % 0.5) * 4)
        soundfile.write(folder / f"{pitch_hz}.wav", tone, RATE)


@pytest.mark.slow
def test_the_documented_lines_run(tmp_path: pathlib.Path) -> None:
    """They do, and the command makes the same songs of that run."""
    write_recordings(tmp_path / "recordings")
    code = documented_lines()
    assert len(code.splitlines()) <= 10
    for documented, small in SMALL.items():
        assert code.count(documented) == 1
        code = code.replace(documented, small)
    printed = run_script(DEFINITIONS + code + MORE, tmp_path)
    (line,) = [line for line in printed.splitlines() if line.startswith("[")]
    directory, error = json.loads(line)
    assert directory == "run"
    assert "n_song is not; the nearest is n_songs. Received: n_song=3" in error
    for name in ("song-000", "song-001"):
        ours, theirs = (
            soundfile.read(tmp_path / folder / f"{name}.wav")[0] for folder in (".", "songs")
        )
        np.testing.assert_array_equal(ours, theirs)
    assert soundfile.info(tmp_path / "song-000.wav").samplerate == RATE


def test_the_import_is_light() -> None:
    heavy = "{'tensorflow', 'keras', 'numpy', 'absl'}"
    code = f"import lstm_gen, sys; print(*sorted({heavy} & {{*sys.modules}}))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == ""


def test_the_public_names() -> None:
    names = {
        name
        for name, value in vars(lstm_gen).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == "lstm_gen"
    }
    assert names == {"Run", "Song", "load_run", "prepare", "train"}
    for name in ("prepare", "train", "load_run"):
        function = getattr(lstm_gen, name)
        assert isinstance(function, types.FunctionType)
        assert ">>> " in (inspect.getdoc(function) or "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mel": 80}, "n_mel is not; the nearest is n_mels. Received: n_mel=80"),
        ({"n_mels": "80"}, "n_mels must be int. Received: '80'"),
        ({"n_mels": True}, "n_mels must be int. Received: True"),
        ({"n_mels": 0}, "n_mels must be .* Received: n_mels=0"),
        ({"representation": "mel"}, "representation must be one of .* Received: "),
        ({"units": 5}, "units is not; the nearest is .* Received: units=5"),
        ({"max_bad_fraction": 0.5}, "max_bad_fraction is not; the nearest is "),
        ({"preset": "huge"}, "preset must be one of .*tiny.* Received: preset='huge'"),
    ],
)
def test_settings_are_validated(
    settings: dict[str, object], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.InputError, match=message):
        lstm_gen.prepare(str(tmp_path), str(tmp_path / "dataset"), **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "dataset").exists()
