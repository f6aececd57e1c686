import pathlib
import subprocess
import sys

import material
import pytest
import soundfile

from lstm_gen.dataset.format import manifest

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def create(*flags: str) -> subprocess.CompletedProcess[str]:
    return run("create_tfrecord.py", "--n_fft=256", "--hop_length=128", "--n_mels=8", *flags)


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a command that failed as it should."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.replace("\r", "\n").splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_the_command_and_its_check(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    flags = (f"--input_dir={recordings}", f"--data_dir={tmp_path / 'dataset'}", "--workers=2")
    made = create(*flags)
    assert made.returncode == 0, made.stderr
    for words in ("made in", "5 recordings", "1 duplicate: twice.wav", "1 not_audio: notes.txt"):
        assert words in made.stdout
    assert f"train_model.py --data_dir={tmp_path / 'dataset'}" in made.stdout
    assert "recording" in made.stderr  # the progress bar
    assert manifest.load(str(tmp_path / "dataset")).audio.n_mels == 8
    again = create(*flags)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    other = create(*flags, "--trim_db=0")
    assert "trim_db=30.0 instead of 0.0" in error_line(other)


def test_a_path_with_spaces_and_names_of_every_kind(tmp_path: pathlib.Path) -> None:
    names = [
        *("new\nline", "tab\t", "-dash", "$HOME$_{$", "*", "..", "%s{0}", "back\\slash", "\udce9"),
        *("u\u0308", "\u00fc", "é" * 125, "x" * 240, "a/" + "deep/" * 50 + "b"),
    ]
    for index, name in enumerate(names):
        path = tmp_path / "in put" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            soundfile.write(file, material.tone(1, 200 + index), material.RATE, format="WAV")
    made = create(
        *(f"--input_dir={tmp_path / 'in put'}", f"--data_dir={tmp_path / 'out put'}"),
        f"--plots_dir={tmp_path / 'plots'}",
    )
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "plots").rglob("*.png"))) == len(names)
    assert f"--data_dir='{tmp_path / 'out put'}'" in made.stdout
    lines = manifest.load_lines(str(tmp_path / "out put"))
    assert {line["name"]: line["verdict"] for line in lines} == {f"{n}.wav": "ok" for n in names}


def test_the_dataset_is_checked_and_inverted(
    dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    sound = tmp_path / "segment.wav"
    tool = ("-m", "lstm_gen", "check", f"--data_dir={dataset.data_dir}")
    good = run(*tool, "--deep", "--dump_segment=2", f"--output={sound}")
    assert good.returncode == 0, good.stderr
    assert "0 problems found (checked: every record)" in good.stdout
    assert "8 mel bands from 0 to 4000 Hz" in good.stdout
    samples, rate = soundfile.read(sound)
    assert rate == 8000
    assert abs(samples).max() > 0.05
    assert "--dump_segment must be below" in error_line(run(*tool, "--dump_segment=999"))


def test_the_check_fails_where_something_is_wrong(
    dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    text = pathlib.Path(dataset.data_dir, "dataset.json").read_text()
    (tmp_path / "dataset.json").write_text(text)
    result = run("-m", "lstm_gen", "check", f"--data_dir={tmp_path}")
    assert result.returncode == 1
    for split in dataset.splits.values():
        for shard in split.shards:
            assert f"problem   {shard.name}" in result.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input_dir=nowhere",), "must be a folder of recordings. Received: input_dir='nowhere'"),
        (("--input_dir=flags",), "must hold recordings"),
        (("--n_mels=0",), "n_mels must be at least 1"),
        (("--workers=-1",), "workers"),
        (("--read_local", "false"), "every argument must be a flag"),
        (("--read_local=false",), "--gcs_bucket"),
    ],
)
def test_bad_input_is_one_line(
    flags: tuple[str, ...], message: str, tmp_path: pathlib.Path
) -> None:
    result = run("create_tfrecord.py", f"--data_dir={tmp_path / 'dataset'}", *flags)
    assert message in error_line(result)
    assert not (tmp_path / "dataset").exists()


def test_help_shows_every_flag() -> None:
    result = run("create_tfrecord.py", "--help")
    assert result.returncode == 0
    for flag in (
        "input_dir",
        "data_dir",
        "workers",
        "plots_dir",
        "trim_db",
        "n_mels",
        "read_local",
    ):
        assert f"--{flag}" in result.stdout or f"--[no]{flag}" in result.stdout


def test_preparing_never_imports_tensorflow_or_librosa() -> None:
    code = (
        "import sys, create_tfrecord, lstm_gen.dataset.prepare.shards; "
        "print([name for name in ('tensorflow', 'librosa', 'matplotlib') if name in sys.modules])"
    )
    assert run("-c", code).stdout.strip() == "[]"
