"""Filter of TensorFlow's harmless messages on stderr."""

import atexit
import functools
import os
import subprocess
import sys

# Written on every start, whatever the log level, or as errors that no user can act on. CUDA's
# error 303 is a machine without NVIDIA's driver.
_HARMLESS = (
    r"All log messages before absl::InitializeLog\(\)|oneDNN custom operations are on"
    r"|Could not find cuda drivers|This TensorFlow binary is optimized to use available CPU"
    r"|To enable the following instructions:|failed call to cuInit.*\(303\)"
    r"|oneDNN supports DT_\w+ only on platforms with|Could not find TensorRT"
    r"|Unable to register cu\w+ factory|computation placer already registered"
)
_FILTER = """
import re, sys
harmless = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not harmless.search(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@functools.cache
def start() -> None:
    """Drop known harmless lines that native code writes to stderr; call before TensorFlow's import.

    All else passes, errors of TensorFlow included. The lines are read by a process of its own, so
    that nothing is lost where TensorFlow ends this one, as on a processor that it was not built
    for. Python itself, and so a progress bar, goes on writing to the real stderr.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors and worse
    try:
        stderr = os.dup(2)
    except OSError:  # closed
        return
    reader = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FILTER, _HARMLESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is for this process
    )
    if sys.stderr is sys.__stderr__:
        sys.stderr = os.fdopen(stderr, "w", 1, errors="backslashreplace", closefd=False)
    if reader.stdin is not None:
        os.dup2(reader.stdin.fileno(), 2)

    def stop() -> None:
        os.dup2(stderr, 2)
        reader.communicate(timeout=5)  # closes the pipe, and waits for what is in it

    atexit.register(stop)
