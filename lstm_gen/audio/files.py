"""Audio files: decoding to mono at a sample rate, and atomic writing.

Neither a name nor a header is trusted. The decoder is chosen by a file's first bytes: libsndfile
for common formats, ffmpeg for the others where it is installed. Blocks are read until there are no
more, so memory is flat whatever length a header claims, and the claim is compared with the samples
read. Every preparation worker imports this module: no TensorFlow, no librosa.
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

from lstm_gen.audio import sniff
from lstm_gen.platform import errors, storage

EXTENSIONS = frozenset({
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
})  # fmt: skip
FFMPEG_EXTENSIONS = frozenset({
    ".m4a", ".m4b", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".webm", ".weba",
    ".avi", ".ape", ".wv", ".tta", ".ac3", ".amr", ".3gp", ".mp2", ".dsf",
})  # fmt: skip
MOST_BYTES = 16 << 30
MOST_SECONDS = 4 * 3600.0

# Uncompressed, losslessly compressed, and the codecs of common containers. The others (ADPCM of
# three kinds, GSM, ...) are rare, and libsndfile's unreleased fixes concern them.
_SUBTYPES_READ = frozenset({
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS",
    "OPUS", "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32", "MPEG_LAYER_I", "MPEG_LAYER_II",
    "MPEG_LAYER_III",
})  # fmt: skip
_WRITERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
_SUBTYPES = {"WAV": ("PCM_16", "PCM_24", "FLOAT"), "FLAC": ("PCM_16", "PCM_24")}
_CODECS = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_RATES_HZ = (1_000, 384_000)
_CHANNELS = (1, 32)
# Samples times channels: 6 hours in stereo at 44.1 kHz, some seconds of decoding. Only compressed
# silence holds more in a file of permitted size.
_MOST_VALUES = 1 << 31
# Enough for float recordings at 16-bit integer scale; louder would overflow a mel power.
_LOUDEST = 1e6
PEAK = 0.999
_BLOCK_VALUES = 1 << 22
_WRITE_BLOCK = 1 << 16
# Of the samples that a header claims, those that may be missing: MP3 headers only estimate.
_MISSING_FRACTION = {"MP3": 0.02}
_UNKNOWN_FRAMES = 1 << 62
# No playlist and no address: a file must not make ffmpeg read or fetch another.
_FFMPEG_FORMATS = "mov,matroska,asf,aac,avi,ape,wv,tta,ac3,amr,mp3,dsf"
_FFMPEG_CPU_SECONDS = 600
_FFMPEG_MESSAGE_BYTES = 1000
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")  # in ffmpeg's messages: different in every run


class AudioError(errors.InputError):
    """A recording that cannot be used; other recordings are not affected.

    Attributes:
      reason: Status code (`lstm_gen.dataset.format.manifest.STATUSES`).
      expected: The expectation, and the remedy.
      received: The offending values by name, and `path`.
    """

    def __init__(self, reason: str, expected: str, **received: object) -> None:
        super().__init__(reason, expected)  # pickling passes these to the constructor
        self.reason = reason
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        return errors.message(self.expected, self.received)

    @property
    def detail(self) -> str:
        """The message without the path, which depends on where a dataset was made."""
        received = {name: value for name, value in self.received.items() if name != "path"}
        return errors.message(self.expected, received)


def require(condition: bool, reason: str, expected: str, **received: object) -> None:
    """Raise AudioError unless the recording is as expected."""
    if not condition:
        raise AudioError(reason, f"expected {expected}", **received)


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


def read_blocks(
    path: str,
    sample_rate: int,
    block_seconds: float = 2.0,
    most_seconds: float = MOST_SECONDS,
    speed: float = 1.0,
) -> Iterator[np.ndarray]:
    """Decode a recording in blocks, so that its length does not matter to memory.

    The channels are averaged, and the rate is changed with soxr's "HQ" filter. A truncated
    recording raises at its end, so blocks are valid only once all of them were read.

    Args:
      path: Local or gs:// path. ffmpeg reads the formats that libsndfile does not.
      sample_rate: Rate to resample to, Hz.
      block_seconds: Longest block to decode at once, seconds.
      most_seconds: Longest recording, as it plays, seconds.
      speed: Speed at which it plays, like a tape: 2 is an octave higher in half the time.

    Yields:
      float32 [samples], mono; lengths vary and none is empty.

    Raises:
      AudioError: If the file is missing, is not audio, has an absurd rate, length or
        number of channels, holds no samples or non-finite ones, or is truncated.
    """
    require(storage.exists(path) and not storage.is_directory(path), "missing", "a file", path=path)
    _require_size(storage.size_bytes(path), path)
    with storage.local_copy(path) as local:
        n_samples = 0
        for block in _decode(local, path, sample_rate / speed, block_seconds):
            n_samples += block.size
            require(
                n_samples <= most_seconds * sample_rate,
                "too_long",
                "a shorter recording; split it",
                path=path,
                most_seconds=most_seconds,
            )
            if block.size:
                yield block
        require(n_samples > 0, "empty", "a recording that holds samples", path=path)


def write(path: str, samples: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Write a mono file atomically.

    A signal whose peak exceeds 0.999 is scaled down to it, so that nothing wraps or clips.

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
    errors.require(bool(container), f"a song's name must end in {', '.join(_WRITERS)}", path=path)
    subtype = _CODECS.get(container, subtype)
    allowed = _SUBTYPES.get(container, (subtype,))
    errors.require(
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


def _require_size(n_bytes: int, path: str) -> None:
    """Refuse an empty file, or one too large to be copied and hashed."""
    require(n_bytes > 0, "empty", "a file that holds audio", path=path)
    require(n_bytes <= MOST_BYTES, "too_long", "a smaller file; split it", path=path, bytes=n_bytes)


def _decode(
    local: str, path: str, sample_rate: float, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield checked mono blocks of a local file; its first bytes choose the decoder."""
    # A pipe or device with an audio name would block or never end.
    require(pathlib.Path(local).is_file(), "not_a_file", "a regular file", path=path)
    with _denied(path), pathlib.Path(local).open("rb") as file:
        container = sniff.identify(file)
        cut = sniff.find_cut(file, container)
    require(not cut, "truncated", "a whole file; copy it again", path=path, found=cut)
    if container:
        yield from _soundfile_blocks(local, path, sample_rate, block_seconds)
        return
    suffix = pathlib.PurePath(path).suffix.lower()
    require(suffix in FFMPEG_EXTENSIONS, "unreadable", "a common audio format", path=path)
    longest = max(1, min(int(block_seconds * sample_rate), _BLOCK_VALUES))
    for block in _ffmpeg_blocks(local, path, sample_rate, longest):
        _require_sane(block, path)
        yield block


@contextlib.contextmanager
def _denied(path: str) -> Iterator[None]:
    """Turn an OSError into an AudioError that names the recording."""
    try:
        yield
    except OSError as error:
        raise AudioError(
            "denied", f"expected a file that can be read ({error.strerror})", path=path
        ) from error


def _reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's message on one line."""
    return " ".join(error.error_string.split()).rstrip(".")


def _soundfile_blocks(
    local: str, path: str, sample_rate: float, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield checked mono blocks of a file that soundfile reads."""
    try:
        with _ForwardFile(os.fsencode(local)) as file:  # as bytes, any name will do
            _require_sound(file, path)
            yield from _resample(_mono_blocks(file, path, block_seconds), file, sample_rate)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            "unreadable", f"expected audio that can be decoded ({_reason(error)})", path=path
        ) from error


class _ForwardFile(soundfile.SoundFile):
    """A file that is only read forwards.

    soundfile seeks after every block that it reads from a seekable file. That fails on a FLAC
    stream whose header lacks its length, and is inexact on some MP3s.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def _require_sound(file: soundfile.SoundFile, path: str) -> None:
    """Refuse a rate, a codec or a number of channels that no recording has."""
    require(
        file.subtype in _SUBTYPES_READ,
        "unreadable",
        "a common audio format; convert it to WAV or FLAC",
        path=path,
        is_a=f"{file.format} {file.subtype}",
    )
    low, high = _RATES_HZ
    require(
        low <= file.samplerate <= high,
        "bad_rate",
        f"a sample rate from {low} to {high} Hz",
        path=path,
        sample_rate=file.samplerate,
    )
    fewest, most = _CHANNELS
    require(
        fewest <= file.channels <= most,
        "bad_channels",
        f"from {fewest} to {most} channels",
        path=path,
        channels=file.channels,
    )


def _mono_blocks(
    file: soundfile.SoundFile, path: str, block_seconds: float
) -> Iterator[np.ndarray]:
    """Yield an open file's channel means, and compare its length with the header's."""
    n_frames = max(1, min(int(block_seconds * file.samplerate), _BLOCK_VALUES // file.channels))
    weights = np.full(file.channels, 1 / file.channels, np.float32)
    n_read = 0
    while True:
        block = np.empty((n_frames, file.channels), np.float32)
        block = file.read(out=block)
        if not len(block):
            break
        n_read += len(block)
        _require_sane(block, path)
        require(
            n_read * file.channels <= _MOST_VALUES,
            "too_long",
            "a shorter recording; split it",
            path=path,
            most_samples=_MOST_VALUES // file.channels,
        )
        yield block[:, 0] if file.channels == 1 else block @ weights
    claimed = file.frames if file.frames < _UNKNOWN_FRAMES else n_read
    require(
        claimed - n_read <= _MISSING_FRACTION.get(file.format, 0.0) * claimed,
        "truncated",
        f"{claimed} samples per channel, as the header says; copy the file again",
        path=path,
        samples=n_read,
    )


def _require_sane(block: np.ndarray, path: str) -> None:
    """Refuse samples that are not finite, or whose power would not be."""
    peak = max(float(block.max(initial=0)), -float(block.min(initial=0)))
    # NaN fails every comparison, and either extreme is NaN if any sample is.
    require(peak <= _LOUDEST, "not_finite", "finite samples", path=path, peak=peak)


def _resample(
    blocks: Iterable[np.ndarray], file: soundfile.SoundFile, sample_rate: float
) -> Iterator[np.ndarray]:
    """Yield one signal's blocks at another rate."""
    if file.samplerate == sample_rate:
        yield from blocks
        return
    resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _ffmpeg_blocks(
    local: str, path: str, sample_rate: float, block_values: int
) -> Iterator[np.ndarray]:
    """Yield blocks of a file's first audio track, mixed to mono and resampled by ffmpeg."""
    program = shutil.which("ffmpeg")
    if not program:
        raise AudioError(
            "needs_ffmpeg",
            "expected ffmpeg on the PATH for this format; install it, or convert the file to WAV "
            "or FLAC",
            path=path,
        )
    command = [program, "-v", "error", "-xerror", "-nostdin"]
    command += ["-timelimit", str(_FFMPEG_CPU_SECONDS), "-protocol_whitelist", "file"]
    command += ["-format_whitelist", _FFMPEG_FORMATS, "-i", f"file:{local}"]
    command += ["-map", "0:a:0", "-f", "f32le", "-ac", "1"]
    command += ["-ar", str(round(sample_rate)), "pipe:1"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        try:
            while content := process.stdout.read(4 * block_values) if process.stdout else b"":
                yield np.frombuffer(content[: len(content) // 4 * 4], "<f4").astype(np.float32)
            status = process.wait()
        finally:
            process.kill()
        messages.seek(0)
        message = messages.read(_FFMPEG_MESSAGE_BYTES).decode("utf-8", "replace")
    require(
        status == 0,
        "unreadable",
        "audio that ffmpeg decodes",
        path=path,
        ffmpeg=_ADDRESS.sub("", " ".join(message.replace(local, "it").split())),
    )


def _guard_peak(samples: np.ndarray, path: str) -> np.ndarray:
    """Return float32 samples whose peak is at most 0.999."""
    errors.require(samples.ndim == 1, "samples must have one axis", path=path, shape=samples.shape)
    samples = samples.astype(np.float32, copy=False)
    peak = float(np.abs(samples).max(initial=0.0))
    errors.require(bool(np.isfinite(peak)), "samples must be finite", path=path, peak=peak)
    return samples * np.float32(PEAK / peak) if peak > PEAK else samples


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[str]:
    """Yield a local file name to write to, beside a local path so that a rename publishes it."""
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
