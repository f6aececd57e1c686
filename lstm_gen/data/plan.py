"""What will be written, decided before anything is decoded: recordings, splits and shards.

The plan is a function of the files' names and contents and of the configuration, never of
the number of workers, the order of a listing or the clock. So are, therefore, the shards.
"""

import concurrent.futures
import dataclasses
import hashlib
import pathlib
from collections import Counter
from collections.abc import Iterable

from lstm_gen import config, errors, storage
from lstm_gen.audio import files
from lstm_gen.data import splits

SCHEMA = 1
_SHARD_BYTES = 128 << 20
_SPREAD = 8  # shards per split, where there are as many recordings, so that work spreads
_READ_BYTES = 1 << 20
_HASHING_THREADS = 4
# Bytes of one second of audio, to guess from a file's size how much it will become.
_PCM_BYTES_PER_SECOND, _FLAC_BYTES_PER_SECOND, _CODED_BYTES_PER_SECOND = 176_400, 88_200, 12_000
_PCM = frozenset({".wav", ".wave", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".snd"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """A file that looks like audio.

    Attributes:
      index: Its line in the manifest, counted from 0.
      name: "/"-separated, relative to the folder of recordings.
      n_bytes: Size of the file.
      sha256: Of its content, hexadecimal; empty if it cannot be read.
      same_as: Name of the recording with the same content that stands for it, or empty.
      problem: Why it cannot be read, or empty.
    """

    index: int
    name: str
    n_bytes: int
    sha256: str
    same_as: str = ""
    problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Recordings that one worker writes to shards of its own, in this order.

    Attributes:
      shards: Split to shard name; one split, or under split "blocks" each of them.
      recordings: What the shards hold.
      n_bytes: Size of the recordings' files.
    """

    shards: dict[str, str]
    recordings: tuple[Recording, ...]
    n_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole preparation.

    Attributes:
      recordings: Every audio file found, by name.
      not_audio: Names of the other files found.
      split: The split configuration, "auto" decided.
      tasks: Units of work, in the order of their shards.
      digest: sha256 over all that determines the dataset's content.
    """

    recordings: tuple[Recording, ...]
    not_audio: tuple[str, ...]
    split: config.SplitConfig
    tasks: tuple[Task, ...]
    digest: str


def make(
    input_dir: str,
    audio: config.AudioConfig,
    segment: config.SegmentConfig,
    split: config.SplitConfig,
) -> Plan:
    """Find and hash the recordings below a folder, and decide what goes where.

    Raises:
      InputError: If the folder is missing or holds no recordings.
    """
    names, not_audio = find(input_dir)
    recordings = _mark_duplicates(_examine(input_dir, names))
    usable = [r for r in recordings if not (r.same_as or r.problem)]
    split = splits.resolve(split, len(usable))
    described = {
        "schema": SCHEMA,
        "audio": config.to_dict(audio),
        "segment": config.to_dict(segment),
        "split": config.to_dict(split),
        "recordings": [[r.name, r.sha256] for r in recordings],
    }
    return Plan(
        recordings=tuple(recordings),
        not_audio=tuple(not_audio),
        split=split,
        tasks=tuple(_assign(usable, audio, segment, split)),
        digest=hashlib.sha256(config.to_json(described).encode()).hexdigest(),
    )


def find(input_dir: str) -> tuple[list[str], list[str]]:
    """Return the names of the audio files and of the other files below a folder, sorted.

    Raises:
      InputError: If there is no such folder, or no audio file in it.
    """
    config.require(
        storage.is_directory(input_dir),
        "--input_dir must be a folder of recordings",
        input_dir=input_dir,
    )
    names = storage.walk_files(input_dir)
    audio = [name for name in names if _suffix(name) in files.EXTENSIONS | files.FFMPEG_EXTENSIONS]
    others = [name for name in names if name not in set(audio)]
    kinds = ", ".join(f"{n} {suffix or 'without suffix'}" for suffix, n in _count_suffixes(others))
    if not audio:
        raise errors.InputError(
            "--input_dir must hold recordings such as .wav, .flac, .ogg, .mp3 or .aiff, at any "
            f"depth. Received: input_dir={input_dir!r} with {kinds or 'no files'}"
        )
    return audio, others


def _count_suffixes(names: Iterable[str]) -> list[tuple[str, int]]:
    """Return the commonest suffixes and how often they occur."""
    return Counter(_suffix(name) for name in names).most_common(4)


def _suffix(name: str) -> str:
    """Return a name's suffix in lower case, with its dot."""
    return pathlib.PurePosixPath(name).suffix.lower()


def _examine(input_dir: str, names: list[str]) -> list[Recording]:
    """Return the recordings with sizes and hashes; hashing releases the interpreter lock."""

    def examine(index: int, name: str) -> Recording:
        path = storage.join(input_dir, name)
        try:
            digest, n_bytes = _hash(path)
        except (OSError, errors.InputError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            return Recording(index=index, name=name, n_bytes=0, sha256="", problem=problem)
        return Recording(index=index, name=name, n_bytes=n_bytes, sha256=digest)

    with concurrent.futures.ThreadPoolExecutor(_HASHING_THREADS) as pool:
        return list(pool.map(examine, range(len(names)), names))


def _hash(path: str) -> tuple[str, int]:
    """Return sha256 and size of a file's content."""
    digest, n_bytes = hashlib.sha256(), 0
    config.require(
        storage.is_remote(path) or pathlib.Path(path).is_file(),
        "a recording must be a regular file",  # a pipe or a device would never end
        path=path,
    )
    with storage.local_copy(path) as local, pathlib.Path(local).open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            n_bytes += len(block)
    return digest.hexdigest(), n_bytes


def _mark_duplicates(recordings: list[Recording]) -> list[Recording]:
    """Let the first by name stand for every recording of the same content."""
    first: dict[str, str] = {}
    marked = []
    for recording in recordings:
        stands = first.setdefault(recording.sha256, recording.name) if recording.sha256 else ""
        same_as = stands if stands not in ("", recording.name) else ""
        marked.append(dataclasses.replace(recording, same_as=same_as))
    return marked


def _assign(
    recordings: list[Recording],
    audio: config.AudioConfig,
    segment: config.SegmentConfig,
    split: config.SplitConfig,
) -> list[Task]:
    """Return the tasks: one per shard, or under split "blocks" one per shard of each split."""
    if split.split == "blocks":
        wanted = {"validation": split.validation_fraction, "test": split.test_fraction}
        held_out = [name for name, fraction in wanted.items() if fraction > 0]
        return _share_out(recordings, ["train", *held_out], audio, segment)
    assigned = splits.assign_recordings([r.sha256 for r in recordings], split)
    tasks = []
    for name in splits.SPLITS:
        members = [r for r, other in zip(recordings, assigned, strict=True) if other == name]
        tasks += _share_out(members, [name], audio, segment)
    return tasks


def _share_out(
    recordings: list[Recording],
    names: list[str],
    audio: config.AudioConfig,
    segment: config.SegmentConfig,
) -> list[Task]:
    """Return tasks of about equal size: each recording, largest first, to the smallest so far."""
    if not recordings:
        return []
    n_bytes = sum(_record_bytes(r, audio, segment) for r in recordings)
    n_tasks = min(len(recordings), max(_SPREAD, int(-(-n_bytes // _SHARD_BYTES))))
    members: list[list[Recording]] = [[] for _ in range(n_tasks)]
    sizes = [0] * n_tasks
    for recording in sorted(recordings, key=lambda r: (-r.n_bytes, r.sha256)):
        smallest = sizes.index(min(sizes))
        members[smallest].append(recording)
        sizes[smallest] += max(1, recording.n_bytes)
    return [
        Task(
            shards={name: f"{name}-{i:05d}-of-{n_tasks:05d}.tfrecord" for name in names},
            recordings=tuple(group),
            n_bytes=size,
        )
        for i, (group, size) in enumerate(zip(members, sizes, strict=True))
    ]


def _record_bytes(
    recording: Recording, audio: config.AudioConfig, segment: config.SegmentConfig
) -> float:
    """Return a guess, from the size of its file, of what a recording will take in records."""
    suffix = _suffix(recording.name)
    coded = _FLAC_BYTES_PER_SECOND if suffix == ".flac" else _CODED_BYTES_PER_SECOND
    seconds = recording.n_bytes / (_PCM_BYTES_PER_SECOND if suffix in _PCM else coded)
    value_bytes = 2 if segment.dtype == "float16" else 4
    return seconds * audio.frames_per_second * audio.n_mels * value_bytes
