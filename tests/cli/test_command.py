import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from lstm_gen.cli import command

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = '''
"""Do the thing.

Usage: thing --n=3
"""

import dataclasses
import sys

from lstm_gen.cli import command, paths
from lstm_gen.config import fields
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThingConfig(fields.Settings):
    """Flags of the thing."""

    n: int = fields.setting(1, "How many.", unit="things", at_least=1)


def main(line) -> int | None:
    n = line.build(ThingConfig).n
    {body}


if __name__ == "__main__":
    command.run(main, (ThingConfig, paths.StorageConfig))
'''


def run(
    folder: pathlib.Path, *arguments: str, body: str = "print(n)"
) -> subprocess.CompletedProcess[str]:
    """Run a small command with the given body of `main`."""
    path = folder / "thing.py"
    path.write_text(COMMAND.format(body=textwrap.indent(body, "    ").lstrip()))
    return subprocess.run(
        [sys.executable, "-W", "error", path, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check for exit status 1 and one line on stderr that has the given parts."""
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def test_a_command_runs(tmp_path: pathlib.Path) -> None:
    result = run(tmp_path, "--n=3", "--noread_local")
    assert (result.returncode, result.stdout, result.stderr) == (0, "3\n", "")


def test_what_main_returns_is_the_exit_status(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path, body="return 1").returncode == 1


def test_a_boolean_with_a_space_is_refused(tmp_path: pathlib.Path) -> None:
    check_refused(run(tmp_path, "--read_local", "false"), "--flag=false", "Received: 'false'")


def test_a_positional_argument_is_refused(tmp_path: pathlib.Path) -> None:
    check_refused(run(tmp_path, "a", "--n=3", "b"), "Received: 'a b'")
    check_refused(run(tmp_path, "--", "--n=3"), "Received: '--n=3'")


def test_an_unknown_flag_is_refused_with_a_suggestion(tmp_path: pathlib.Path) -> None:
    check_refused(run(tmp_path, "--read_locall=true"), "read_locall", "Did you mean: read_local")


@pytest.mark.parametrize("value", ["many", "1.5", ""])
def test_a_value_of_another_type_is_refused(tmp_path: pathlib.Path, value: str) -> None:
    check_refused(run(tmp_path, f"--n={value}"), f"--n={value}")


def test_a_value_out_of_range_is_refused(tmp_path: pathlib.Path) -> None:
    check_refused(run(tmp_path, "--n=0"), "n must be at least 1 things. Received: n=0")


def test_a_missing_flag_file_is_refused(tmp_path: pathlib.Path) -> None:
    check_refused(run(tmp_path, "--flagfile=missing.flags"), "missing.flags", "No such file")


def test_flags_after_a_flag_file_win(tmp_path: pathlib.Path) -> None:
    (tmp_path / "few.flags").write_text("# A comment.\n--n=2\n")
    assert run(tmp_path, "--flagfile=few.flags").stdout == "2\n"
    assert run(tmp_path, "--flagfile=few.flags", "--n=5").stdout == "5\n"


def test_bad_input_is_one_line(tmp_path: pathlib.Path) -> None:
    body = "raise errors.InputError('n must be odd.\\nReceived: n=2')"
    result = run(tmp_path, body=body)
    check_refused(result)
    assert result.stderr == "error: n must be odd. Received: n=2\n"


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: pathlib.Path) -> None:
    result = run(tmp_path, body="open('missing.wav')")
    check_refused(result)
    assert result.stderr == "error: No such file or directory: missing.wav\n"


def test_a_defect_keeps_its_traceback(tmp_path: pathlib.Path) -> None:
    result = run(tmp_path, body="raise ValueError('a defect')")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_an_interrupt_exits_with_130(tmp_path: pathlib.Path) -> None:
    result = run(tmp_path, body="raise KeyboardInterrupt")
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_it_as_an_interrupt_does(
    tmp_path: pathlib.Path, name: str, status: int
) -> None:
    body = f"import os, signal, time; os.kill(os.getpid(), signal.{name}); time.sleep(30)"
    result = run(tmp_path, body=body)
    assert (result.returncode, result.stderr) == (status, f"error: ended by {name}\n")


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_is_no_defect(tmp_path: pathlib.Path, closed: int) -> None:
    run(tmp_path, body="print('told'); sys.stderr.write('told')")
    command = f"{sys.executable} {tmp_path / 'thing.py'} {closed}>&-"
    result = subprocess.run(
        ["sh", "-c", command], env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (
        0,
        b"told" + b"\n" * (closed == 2),
    )


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_shows_the_docstring_and_every_flag(tmp_path: pathlib.Path, flag: str) -> None:
    result = run(tmp_path, "--n=3", flag)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Do the thing.\n\nUsage: thing --n=3\n")
    assert (
        "Flags of the thing\n  --n=INTEGER  (at least 1 things; default 1)\n      How many.\n"
        in result.stdout
    )
    assert "Storage of inputs and outputs" in result.stdout
    for name in ("--[no]read_local", "--[no]write_local", "--gcs_bucket", "--preset=", "tiny"):
        assert name in result.stdout


def test_a_reader_that_has_gone_is_no_defect(tmp_path: pathlib.Path) -> None:
    run(tmp_path)
    command = f"{sys.executable} thing.py --help | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("in", "out")),
        (["--noread_local", "--gcs_bucket=b"], ("gs://b/in", "gs://b/out")),
        (["--read_local=false", "--write_local", "--gcs_bucket=b"], ("gs://b/in", "out")),
        (["--write_local=false", "--gcs_bucket=gs://b"], ("in", "gs://b/out")),
    ],
)
def test_where_paths_are(
    tmp_path: pathlib.Path, arguments: list[str], expected: tuple[str, str]
) -> None:
    body = "print(line.resolve('in', 'input'), line.resolve('out', 'output'))"
    assert run(tmp_path, *arguments, body=body).stdout.split() == list(expected)


def test_a_bucket_that_is_not_named_is_refused(tmp_path: pathlib.Path) -> None:
    body = "line.resolve('in', 'input')"
    check_refused(run(tmp_path, "--noread_local", body=body), "--gcs_bucket=NAME", "path='in'")


def test_the_next_command_is_given_the_same_files(tmp_path: pathlib.Path) -> None:
    for name in ("one.flags", "another one.flags"):
        (tmp_path / name).write_text("# nothing\n", "utf-8")
    body = "print(command.program('train') + ' ' + line.files() + '--run_dir=run')"
    given = ["--flagfile=one.flags", "--read_local", "--flagfile", "another one.flags"]
    said = run(tmp_path, *given, "--preset=tiny", body=body).stdout.strip()
    assert said == (
        "python train_model.py --flagfile=one.flags --flagfile='another one.flags' --preset=tiny "
        "--run_dir=run"
    )
    for body, arguments, files in (
        ("line.files()", [], ""),
        ("line.files()", ["--flagfile=a_flagfile"], "--flagfile=a_flagfile "),
        ("line.files('read_local')", ["--flagfile=one.flags", "--read_local=true"], ""),
    ):
        (tmp_path / "a_flagfile").touch()
        said = run(tmp_path, *arguments, body=f"print([{body}])").stdout.strip()
        assert said == str([files])


START = """
import sys
from lstm_gen.cli import command
sys.argv = ["lstm_gen", *sys.argv[1:]]
try:
    command.run_subcommand()
except SystemExit as ended:
    status = ended.code
heavy = {"tensorflow", "keras", "librosa", "sklearn", "numba", "matplotlib"}
print(sorted({name.partition(".")[0] for name in sys.modules} & heavy), status)
"""


@pytest.mark.parametrize("name", command.COMMANDS)
@pytest.mark.parametrize(
    ("flag", "status"),
    [("--help", 0), ("--nosuch=1", 1), ("--read_local=perhaps", 1), ("--preset=nosuch", 1)],
)
def test_help_and_errors_need_no_heavy_import(name: str, flag: str, status: int) -> None:
    result = subprocess.run(
        [sys.executable, "-c", START, name, flag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == f"[] {status}"
    assert result.stderr.count("\n") == status


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("prepare", "--n_fft=3"),
        ("train", "--units=0"),
        ("generate", "--seconds=0"),
        ("export", "--sigma_scale=-1"),
        ("check", "--dump_segment=-1"),
    ],
)
def test_a_wrong_value_needs_no_heavy_import(name: str, flag: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", START, name, flag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[] 1\n"
    assert result.stderr.startswith(f"error: {flag.partition('=')[0].removeprefix('--')} must be")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python, started anew, at the root of the project."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_subcommands_are_listed() -> None:
    done = run_python("-m", "lstm_gen")
    assert done.returncode == 1
    assert all(f"lstm_gen {name} " in done.stdout for name in command.COMMANDS)
    assert run_python("-m", "lstm_gen", "--help").stdout == done.stdout
    check_refused(run_python("-m", "lstm_gen", "sing"), "one of prepare, train, generate")


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("here/create_tfrecord.py", "python train_model.py"),
        ("bin/create_tfrecord", "train_model"),
        ("bin/lstm_gen", "lstm_gen train"),
        ("lib/lstm_gen/__main__.py", "python -m lstm_gen train"),
    ],
)
def test_other_commands_are_named_as_this_one_was_started(
    monkeypatch: pytest.MonkeyPatch, started: str, expected: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert command.program("train") == expected
