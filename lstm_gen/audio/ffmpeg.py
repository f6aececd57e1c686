"""What only ffmpeg decodes: AAC, MP4, Matroska, WMA and the like, where it is installed."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from lstm_gen.audio import file_status

EXTENSIONS = frozenset({
    ".m4a", ".m4b", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".webm", ".weba",
    ".avi", ".ape", ".wv", ".tta", ".ac3", ".amr", ".3gp", ".mp2", ".dsf",
})  # fmt: skip
# No playlist and no address: a file must not make a preparation read or fetch another.
_FORMATS = "mov,matroska,asf,aac,avi,ape,wv,tta,ac3,amr,mp3,dsf"
_MOST_CPU_SECONDS = 600
_WORDS_BYTES = 1000
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")  # of a part of ffmpeg: another one in every run


def read_blocks(local: str, path: str, sample_rate: int, block_values: int) -> Iterator[np.ndarray]:
    """Decode the first sound track of a file, mixed and resampled by ffmpeg.

    Args:
      local: Where the file is.
      path: What it is called in messages.
      sample_rate: Rate to resample to, Hz.
      block_values: Longest block, samples.

    Yields:
      float32 [samples], mono.

    Raises:
      verdicts.AudioError: If ffmpeg is not there, or cannot decode all of the file.
    """
    program = shutil.which("ffmpeg")
    if not program:
        raise file_status.AudioError(
            "needs_ffmpeg",
            "expected ffmpeg on the PATH for this format; install it, or convert the file to WAV "
            "or FLAC",
            path=path,
        )
    command = [program, "-v", "error", "-xerror", "-nostdin", "-timelimit", str(_MOST_CPU_SECONDS)]
    command += ["-protocol_whitelist", "file", "-format_whitelist", _FORMATS, "-i", f"file:{local}"]
    command += ["-map", "0:a:0", "-f", "f32le", "-ac", "1", "-ar", str(sample_rate), "pipe:1"]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        try:
            while content := process.stdout.read(4 * block_values) if process.stdout else b"":
                yield np.frombuffer(content[: len(content) // 4 * 4], "<f4").astype(np.float32)
            status = process.wait()
        finally:
            process.kill()
        complaints.seek(0)
        words = complaints.read(_WORDS_BYTES).decode("utf-8", "replace").replace(local, "it")
    file_status.require(
        status == 0,
        "unreadable",
        "audio that ffmpeg decodes",
        path=path,
        ffmpeg=_ADDRESS.sub("", " ".join(words.split())),
    )
