"""One owner of a run directory on a disk; `gcs/test_lease_in_a_bucket.py` has that in a bucket."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from lstm_gen.platform import errors
from lstm_gen.runs import lease

HOLDER = """
import sys
from lstm_gen.runs import lease
with lease.hold(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def claim(folder: pathlib.Path) -> None:
    """Claim a run directory and give it back."""
    with lease.hold(str(folder)):
        pass


def test_a_held_run_has_no_second_owner(tmp_path: pathlib.Path) -> None:
    with lease.hold(str(tmp_path)) as owner:
        owner.confirm()
        mine = rf"process {os.getpid()} on \S+"
        with pytest.raises(errors.InputError, match=rf"another train_model.py .*\({mine}\); wait"):
            claim(tmp_path)
    claim(tmp_path)
    assert json.loads((tmp_path / lease.FILE).read_text())["process"] == os.getpid()


def test_the_claim_goes_with_the_process(tmp_path: pathlib.Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(errors.InputError, match=rf"process {holder.pid} on"):
            claim(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        claim(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"process": 3'])
def test_any_content_of_the_file_will_do(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / lease.FILE).write_bytes(content)
    claim(tmp_path)
    assert "process unknown on an unknown machine" in lease._owner(content)
