"""Forked programs are as good as programs that are started: arguments, streams, signals, ends."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import processes
import pytest

SHOW = """
import json, os, sys
known = [name for name in ("tensorflow", "lstm_gen") if name in sys.modules]
threads = len(os.listdir("/proc/self/task"))
print(json.dumps([__name__, sys.argv[1:], os.getcwd(), os.environ.get("KEY"), known, threads]))
print(sys.stdin.read(), file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.parametrize("how", ["-c", "-m", "script"])
def test_a_program_has_arguments_folder_environment_and_streams(
    how: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    first = {"-c": ("-c", SHOW), "-m": ("-m", "show"), "script": ("show.py",)}[how]
    done = processes.run_python(*first, "a", "b c", cwd=tmp_path, env={"KEY": "é"}, stdin="in")
    assert (done.returncode, done.stderr) == (7, "in\n")
    shown = json.loads(done.stdout)
    # TensorFlow is imported and has started nothing; what is ours is read anew.
    assert shown == ["__main__", ["a", "b c"], str(tmp_path), "é", ["tensorflow"], 1]


def test_it_finds_the_modules_that_a_start_finds(tmp_path: pathlib.Path) -> None:
    (tmp_path / "path.py").write_text("import sys\nprint(sys.path)\n")
    for arguments in (["path.py"], ["-m", "path"], ["-c", "import sys; print(sys.path)"]):
        started = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": "/a:/b"},
            capture_output=True,
            text=True,
            check=True,
        )
        forked = processes.run_python(*arguments, cwd=tmp_path, env={"PYTHONPATH": "/a:/b"})
        assert forked.stdout == started.stdout


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("pass", 0, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import atexit, sys; atexit.register(sys.stderr.write, 'last')", 0, "last"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
    ],
)
def test_it_ends_as_python_does(code: str, status: int, words: str) -> None:
    done = processes.run_python("-c", code)
    assert done.returncode == status
    assert words in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_is_signalled_and_waited_for(number: int) -> None:
    process = processes.Fork("-c", "import time; print('up', flush=True); time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert process.poll() is None
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert output == "up\n"
    assert process.returncode == process.poll() == -number
    process.kill()  # it has ended: nobody else may have its number by now


def test_its_group_is_killed_with_its_children() -> None:
    code = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(60)"
    process = processes.Fork("-c", code)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    for number in map(int, output.split()):
        for _ in range(100):
            if not _is_alive(number):
                break
            time.sleep(0.05)
        assert not _is_alive(number)
    assert processes.run_python("-c", "print('still there')").stdout == "still there\n"


def _is_alive(number: int) -> bool:
    """Whether a process is there, and not only to be waited for."""
    try:
        status = pathlib.Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
