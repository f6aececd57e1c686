"""Recordings in and songs out: decode, mix to mono, resample; write whole files.

Nothing here trusts a header. Blocks are read until the decoder has no more, so memory is
flat whatever length a file claims, and what was claimed is compared with what came. This
module is imported by every preparation worker, so it needs neither TensorFlow nor librosa.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import soundfile
import soxr

from lstm_gen import config, errors, storage

# fmt: off
EXTENSIONS = frozenset({
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
})
FFMPEG_EXTENSIONS = frozenset({
    ".m4a", ".m4b", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".webm", ".weba",
    ".avi", ".ape", ".wv", ".tta", ".ac3", ".amr", ".3gp", ".mp2", ".dsf",
})
# fmt: on

_CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF")
_WRITERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
_SUBTYPES = {"WAV": ("PCM_16", "PCM_24", "FLOAT"), "FLAC": ("PCM_16", "PCM_24")}
_CODECS = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_RATES_HZ = (1_000, 384_000)
_CHANNELS = (1, 32)
# Enough for float recordings at 16-bit integer scale; louder would overflow a mel power.
_LOUDEST = 1e6
_PEAK = 0.999
_BLOCK_VALUES = 1 << 22
_WRITE_BLOCK = 1 << 16
# What a header may promise beyond what is decoded: MP3 encoders and tags only estimate.
_MISSING_SHARE = {"MP3": 0.02}
# libsndfile shortens a cut file's promise to fit and says so only in its log. A size of
# almost 2^31 or 2^32 bytes is how a stream of unknown length is written.
_SHORTENED = re.compile(r"(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)")
_UNKNOWN_SIZE = (1 << 31) - (1 << 16)
_UNKNOWN_FRAMES = 1 << 62


class AudioError(errors.InputError):
    """A recording cannot be used; the others are not touched by it.

    Attributes:
      reason: Stable code, one word, for manifests and summaries: "missing", "empty",
        "unreadable", "truncated", "no_channels", "bad_rate", "not_finite", "needs_ffmpeg",
        "too_short" or "silent".
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives the way between processes
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[1])


def read(path: str, sample_rate: int) -> np.ndarray:
    """Return a whole recording.

    Args:
      path: Local or gs:// path.
      sample_rate: Rate to resample to, Hz.

    Returns:
      float32 [samples], mono.

    Raises:
      AudioError: See `read_blocks`.
    """
    return np.concatenate(list(read_blocks(path, sample_rate)))


def read_blocks(path: str, sample_rate: int, block_seconds: float = 20.0) -> Iterator[np.ndarray]:
    """Decode a recording in blocks, so that its length does not matter to memory.

    The channels are averaged, and the rate is changed with soxr's "HQ" filter. A recording
    that turns out to be cut short raises at its end, so blocks are good only once all came.

    Args:
      path: Local or gs:// path. What soundfile cannot read goes through `ffmpeg`.
      sample_rate: Rate to resample to, Hz.
      block_seconds: Longest block to decode at once, seconds.

    Yields:
      float32 [samples], mono; lengths vary and none is empty.

    Raises:
      AudioError: If the file is not there, is not audio, has an absurd rate or number of
        channels, holds no samples or some that are not finite, or ends early.
    """
    _check(storage.exists(path) and not storage.is_directory(path), "missing", "a file", path=path)
    with storage.local_copy(path) as local:
        # A pipe or device with an audio name would block or never end.
        _check(pathlib.Path(local).is_file(), "unreadable", "a regular file", path=path)
        _check(
            pathlib.Path(local).stat().st_size > 0, "empty", "a file that holds audio", path=path
        )
        through_ffmpeg = pathlib.PurePath(path).suffix.lower() in FFMPEG_EXTENSIONS
        decode = _ffmpeg_blocks if through_ffmpeg else _soundfile_blocks
        n_samples = 0
        for block in decode(local, path, sample_rate, block_seconds):
            n_samples += block.size
            if block.size:
                yield block
        _check(n_samples > 0, "empty", "a recording that holds samples", path=path)


def write(path: str, samples: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Write a mono file as a whole: it appears complete or not at all.

    A signal whose peak passes 0.999 is scaled down to it, as a whole: nothing wraps or clips.

    Args:
      path: Local or gs:// path ending in .wav, .flac, .ogg or .mp3.
      samples: float [samples].
      sample_rate: Hz.
      subtype: "PCM_16", "PCM_24" or, for WAV only, "FLOAT"; Ogg and MP3 ignore it.

    Raises:
      InputError: For another suffix or subtype, samples that are not finite or not mono, or
        a rate that the format cannot hold.
    """
    suffix = pathlib.PurePath(path).suffix.lower()
    container = _WRITERS.get(suffix, "")
    config.require(bool(container), f"a song's name must end in {', '.join(_WRITERS)}", path=path)
    subtype = _CODECS.get(container, subtype)
    allowed = _SUBTYPES.get(container, (subtype,))
    config.require(
        subtype in allowed, f"subtype must be {' or '.join(allowed)} for {suffix}", subtype=subtype
    )
    samples = _guard_peak(np.asarray(samples), path)
    with _temporary(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", sample_rate, 1, subtype=subtype, format=container
            ) as file:
                # In blocks: libsndfile's Vorbis encoder overflows its stack on long arrays.
                for start in range(0, samples.size, _WRITE_BLOCK):
                    file.write(samples[start : start + _WRITE_BLOCK])
        except soundfile.LibsndfileError as error:
            raise errors.InputError(
                f"{container} cannot be written with these settings, use .wav or another rate "
                f"({_reason(error)}). Received: path={path!r}, sample_rate={sample_rate}"
            ) from error
        with pathlib.Path(temporary).open("rb") as written:
            os.fsync(written.fileno())
        storage.publish(temporary, path)


def _check(condition: bool, reason: str, expected: str, **received: object) -> None:
    """Raise AudioError unless the recording is as expected."""
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise AudioError(reason, f"expected {expected}. Received: {values}")


def _reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's own words on one line."""
    return " ".join(error.error_string.split()).rstrip(".")


def _soundfile_blocks(
    local: str, path: str, sample_rate: int, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield checked mono blocks of a file that soundfile reads."""
    try:
        with _ForwardFile(local) as file:
            _check_header(file, path)
            yield from _resample(_mono_blocks(file, path, block_seconds), file, sample_rate)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            "unreadable",
            f"expected audio that can be decoded ({_reason(error)}). Received: path={path!r}",
        ) from error


class _ForwardFile(soundfile.SoundFile):
    """A file that is only read forwards.

    soundfile seeks after every block it reads, if it can; that fails on a FLAC stream whose
    header does not know its length, and is inexact on some MP3s.
    """

    def seekable(self) -> bool:
        """Say no."""
        return False


def _check_header(file: soundfile.SoundFile, path: str) -> None:
    """Refuse what no recording of sound looks like, before anything is allocated."""
    _check(
        file.format in _CONTAINERS,
        "unreadable",
        "a common audio format",
        path=path,
        is_a=file.format,
    )
    low, high = _RATES_HZ
    _check(
        low <= file.samplerate <= high,
        "bad_rate",
        f"a sample rate from {low} to {high} Hz",
        path=path,
        sample_rate=file.samplerate,
    )
    fewest, most = _CHANNELS
    _check(
        fewest <= file.channels <= most,
        "no_channels",
        f"from {fewest} to {most} channels",
        path=path,
        channels=file.channels,
    )
    for promised, present in _SHORTENED.findall(file.extra_info):
        _check(
            int(promised) <= int(present) or int(promised) >= _UNKNOWN_SIZE,
            "truncated",
            f"{promised} bytes of audio, as the header says; copy the file again",
            path=path,
            bytes=int(present),
        )


def _mono_blocks(
    file: soundfile.SoundFile, path: str, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield an open file's channel means, and compare its length with the header's promise."""
    n_frames = max(1, min(int(block_seconds * file.samplerate), _BLOCK_VALUES // file.channels))
    weights = np.full(file.channels, 1 / file.channels, np.float32)
    n_read = 0
    while True:
        block = np.empty((n_frames, file.channels), np.float32)
        block = file.read(out=block)
        if not len(block):
            break
        n_read += len(block)
        _check_values(block, path)
        yield block[:, 0] if file.channels == 1 else block @ weights
    promised = file.frames if file.frames < _UNKNOWN_FRAMES else n_read
    missing = promised - n_read
    _check(
        missing <= _MISSING_SHARE.get(file.format, 0.0) * promised,
        "truncated",
        f"{promised} samples per channel, as the header says; copy the file again",
        path=path,
        samples=n_read,
    )


def _check_values(block: np.ndarray, path: str) -> None:
    """Refuse samples that are not finite, or so large that a power of them would not be."""
    peak = max(float(block.max()), -float(block.min()))
    # NaN fails every comparison, and either extreme is NaN if any sample is.
    _check(peak <= _LOUDEST, "not_finite", "finite samples", path=path, peak=peak)


def _resample(
    blocks: Iterable[np.ndarray], file: soundfile.SoundFile, sample_rate: int
) -> Iterator[np.ndarray]:
    """Yield the blocks at another rate, as if they were one signal."""
    if file.samplerate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _ffmpeg_blocks(
    local: str, path: str, sample_rate: int, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield checked mono blocks of any container that the user's ffmpeg reads."""
    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        raise AudioError(
            "needs_ffmpeg",
            "expected ffmpeg on the PATH for this format; install it, or convert the file to WAV "
            f"or FLAC. Received: path={path!r}",
        )
    # Only local files: a playlist must not make a preparation fetch addresses.
    command = [ffmpeg, "-v", "error", "-nostdin", "-protocol_whitelist", "file", "-i"]
    command += [f"file:{local}", "-map", "0:a:0", "-f", "f32le", "-ac", "1"]
    command += ["-ar", str(sample_rate), "pipe:1"]
    n_bytes = 4 * max(1, min(int(block_seconds * sample_rate), _BLOCK_VALUES))
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        try:
            while content := process.stdout.read(n_bytes) if process.stdout else b"":
                block = np.frombuffer(content[: len(content) // 4 * 4], "<f4").astype(np.float32)
                _check_values(block, path)
                yield block
            status = process.wait()
        finally:
            process.kill()
        complaints.seek(0)
        words = complaints.read(1000).decode("utf-8", "replace").split()
    _check(
        status == 0, "unreadable", "audio that ffmpeg decodes", path=path, ffmpeg=" ".join(words)
    )


def _guard_peak(samples: np.ndarray, path: str) -> np.ndarray:
    """Return float32 samples whose peak is at most 0.999."""
    config.require(samples.ndim == 1, "samples must have one axis", path=path, shape=samples.shape)
    samples = samples.astype(np.float32, copy=False)
    peak = float(np.abs(samples).max(initial=0.0))
    config.require(bool(np.isfinite(peak)), "samples must be finite", path=path, peak=peak)
    return samples * np.float32(_PEAK / peak) if peak > _PEAK else samples


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[str]:
    """Yield a local name to write to: beside a local path, so that a rename can publish it."""
    if storage.is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            yield str(pathlib.Path(folder, "song"))
        return
    storage.make_directory(str(pathlib.Path(path).parent))
    temporary = pathlib.Path(f"{path}.tmp-{os.getpid()}")
    try:
        yield str(temporary)
    finally:
        temporary.unlink(missing_ok=True)
