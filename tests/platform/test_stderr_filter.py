"""Filter of stderr: harmless lines of native code are dropped, all else passes."""

import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
HARMLESS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1.2 1 port.cc:153] oneDNN custom operations are on. You may see slightly ...",
    "I0000 00:00:1.2 1 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU ...",
    "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: ... UNKNOWN ERROR (303)",
)
REAL = (
    "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: ... NO DEVICE (100)",
    "E0000 00:00:1.2 1 cuda_dnn.cc:466] Loaded runtime CuDNN library: 8.0.5 but source was ...",
)
PROGRAM = """
import os, sys
from lstm_gen.platform import stderr_filter
stderr_filter.start()
stderr_filter.start()
for line in sys.argv[2:]:
    os.write(2, line.encode() + b"\\n")
print("bar", end="\\r", file=sys.stderr)
if sys.argv[1] == "abort":
    os.abort()
"""


def run(how: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run a program that writes lines to stderr as native code does."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, how, *lines],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_harmless_lines_are_dropped_and_errors_pass() -> None:
    result = run("end", *HARMLESS, *REAL)
    assert result.returncode == 0
    assert sorted(result.stderr.replace("bar\n", "").replace("bar\r", "").splitlines()) == sorted(
        REAL
    )


def test_nothing_is_lost_where_native_code_aborts() -> None:
    result = run("abort", HARMLESS[0], REAL[1])
    assert result.returncode == -signal.SIGABRT
    assert REAL[1] in result.stderr
    assert HARMLESS[0] not in result.stderr


def test_a_closed_stderr_is_no_defect() -> None:
    program = "from lstm_gen.platform import stderr_filter; stderr_filter.start(); print(1)"
    command = f"{sys.executable} -c '{program}' 2>&-"
    result = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, b"1\n")
