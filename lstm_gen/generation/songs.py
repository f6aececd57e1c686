"""A run directory becomes songs: primer, rollout, inversion, files."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from lstm_gen import checkpoints, config, precision, runs, storage
from lstm_gen.audio import files, inversion, pictures, representations
from lstm_gen.data import manifest, primers
from lstm_gen.generation import export, rollout
from lstm_gen.models import family

FORMATS = ("wav", "flac", "ogg", "mp3")
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
INVERSIONS = ("joint", "griffin_lim")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SongConfig:
    """What songs are asked for, and how they are written.

    Attributes:
      n_songs: Songs.
      songs_at_once: Songs that are rolled out in one batch, on one device.
      seconds: Length of each, seconds.
      seed: Song i of a seed is the same on any number of devices.
      temperature: Mixture-weight temperature; below 1 onsets vanish and songs fall silent.
      sigma_scale: Factor on the deviation that is sampled; 0.8 to 1 sounds natural.
      primer: Recording to continue; "" for excerpts of the dataset.
      primer_seconds: Length of a dataset excerpt, seconds (a recording is used whole).
      include_primer: Put the primer in front of the song.
      format: "wav", "flac", "ogg" or "mp3".
      subtype: "PCM_16", "PCM_24" or "FLOAT" (WAV; FLAC has the first two).
      precision: "float32" or "bfloat16", of the rollout's activations.
      inversion: "joint", or "griffin_lim" as the simple alternative (log_mel).
      inversion_quality: "preview", "standard", "high" or "final".
      portable: Make the song as an exported generator does, sample for sample: one song, of a
        primer recording, in TensorFlow operations alone.
    """

    n_songs: int = 4
    songs_at_once: int = 16
    seconds: float = 20.0
    seed: int = 0
    temperature: float = 1.0
    sigma_scale: float = 1.0
    primer: str = ""
    primer_seconds: float = 4.0
    include_primer: bool = False
    format: str = "wav"
    subtype: str = "PCM_16"
    precision: str = "float32"
    inversion: str = "joint"
    inversion_quality: str = "standard"
    portable: bool = False

    def __post_init__(self) -> None:
        config.require_least(self, 1, "n_songs", "songs_at_once")
        config.require(
            0 <= self.seed < 1 << 31, "seed must be from 0 to 2147483647", seed=self.seed
        )
        for name in ("seconds", "temperature", "primer_seconds"):
            value = getattr(self, name)
            config.require(value > 0, f"{name} must be positive", **{name: value})
        config.require(
            self.sigma_scale >= 0, "sigma_scale must not be negative", sigma_scale=self.sigma_scale
        )
        choices = {
            "format": FORMATS,
            "subtype": SUBTYPES,
            "precision": precision.CHOICES,
            "inversion": INVERSIONS,
            "inversion_quality": tuple(inversion.QUALITY),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            config.require(
                value in allowed, f"{name} must be one of {', '.join(allowed)}", **{name: value}
            )
        config.require(
            self.format != "flac" or self.subtype != "FLOAT",
            "FLAC holds integers; use --subtype=PCM_24 or --format=wav",
            format=self.format,
            subtype=self.subtype,
        )
        config.require(
            not self.portable
            or (self.n_songs == 1 and bool(self.primer) and not self.include_primer),
            "--portable makes what an exported generator does: use --n_songs=1, --primer=FILE and "
            "no --include_primer",
            n_songs=self.n_songs,
            primer=self.primer,
            include_primer=self.include_primer,
        )


def make(
    run_dir: str,
    output_dir: str,
    songs: SongConfig,
    data_dir: str = "",
    devices: Sequence[str] = ("/cpu:0",),
    progress: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Make songs and write them; of several processes, each its own.

    Args:
      run_dir: A directory that training made.
      output_dir: Where the songs go: `song-000.wav`, its picture `.png` and settings `.json`.
      songs: What is asked for.
      data_dir: The dataset to take primers from; "" for the one trained on.
      devices: Where to roll out, as `distribute.devices` names them.
      progress: Called with the number of frames that a group of songs has got since the last
        call.

    Returns:
      The paths of the sound files.

    Raises:
      InputError: If the run has no trained weights, or the primer cannot be used.
    """
    if songs.portable:
        return [_make_portable(run_dir, output_dir, songs)]
    run = runs.load(run_dir)
    primer = load_primer(run, songs, data_dir or run.data_dir)
    groups = rollout.deal(songs.n_songs, songs.songs_at_once)
    frames = rollout.roll_out(
        run_dir,
        run,
        controls(songs, run),
        primer,
        groups,
        devices,
        songs.precision,
        progress,
    )
    paths = []
    for index, new in frames.items():
        whole = np.concatenate([primer[index], new]) if songs.include_primer else new
        song = run.normalisation.undo(whole)
        path = storage.join(output_dir, f"song-{index:03d}")
        paths.append(write_song(path, song, run.audio, songs))
        _write_settings(path, run_dir, index, songs, song)
    return paths


def _make_portable(run_dir: str, output_dir: str, songs: SongConfig) -> str:
    """Make the one song by the graph that is exported; return its path."""
    n_iterations = inversion.QUALITY[songs.inversion_quality]
    run, generator = export.load(run_dir, songs.sigma_scale, n_iterations, songs.seconds)
    primer = files.read(songs.primer, run.audio.sample_rate)
    samples = generator.make(songs.seed, primer, songs.seconds, songs.temperature)
    path, frames = storage.join(output_dir, "song-000"), representations.extract(samples, run.audio)
    _write_settings(path, run_dir, 0, songs, frames)
    return _write_sound(path, frames, samples, run.audio, songs)


def _write_settings(
    path: str, run_dir: str, index: int, songs: SongConfig, frames: np.ndarray
) -> None:
    """Write beside a song what it was made from, and of what frames."""
    weights = checkpoints.newest(runs.model_dir(run_dir))
    made_from = {"run_dir": run_dir, "song": index, "step": weights.step if weights else None}
    values = config.to_dict(songs) | made_from | _digest(frames)
    storage.write_text(f"{path}.json", config.to_json(values))


def load_primer(run: runs.Run, songs: SongConfig, data_dir: str) -> np.ndarray:
    """Return what each song starts from, normalised, float32 [n_songs, frames, channels]."""
    if songs.primer:
        samples = files.read(songs.primer, run.audio.sample_rate)
        frames = run.normalisation.apply(representations.extract(samples, run.audio))
        return np.repeat(frames[np.newaxis], songs.n_songs, axis=0)
    dataset = manifest.load(data_dir)
    config.require(
        dataset.fingerprint == run.fingerprint,
        "the dataset must be the one that the run was trained on; name where that is now with "
        "--data_dir, or continue a recording with --primer",
        data_dir=data_dir,
    )
    split = "validation" if dataset.splits["validation"].n_records else "train"
    n_frames = round(songs.primer_seconds * run.audio.frames_per_second)
    return primers.draw(dataset, split, songs.n_songs, n_frames, songs.seed)


def controls(songs: SongConfig, run: runs.Run) -> family.Controls:
    """Return what is asked of the model."""
    return family.Controls(
        n_songs=songs.n_songs,
        n_frames=max(1, round(songs.seconds * run.audio.frames_per_second)),
        seed=songs.seed,
        temperature=songs.temperature,
        sigma_scale=songs.sigma_scale,
    )


def write_song(path: str, frames: np.ndarray, audio: config.AudioConfig, songs: SongConfig) -> str:
    """Invert frames and write the sound and its picture; return the sound's path."""
    return _write_sound(path, frames, invert(frames, audio, songs), audio, songs)


def _write_sound(
    path: str, frames: np.ndarray, samples: np.ndarray, audio: config.AudioConfig, songs: SongConfig
) -> str:
    sound = f"{path}.{songs.format}"
    files.write(sound, samples, audio.sample_rate, songs.subtype)
    pictures.spectrogram(f"{path}.png", frames, audio, title=storage.name(path))
    return sound


def invert(frames: np.ndarray, audio: config.AudioConfig, songs: SongConfig) -> np.ndarray:
    """Return the waveform of frames, float32, one hop of samples per frame."""
    if songs.inversion == "griffin_lim" and audio.representation == "log_mel":
        samples = inversion.griffin_lim(frames, audio)
        return np.pad(samples, (0, len(frames) * audio.hop_length - samples.size))
    return representations.invert(frames, audio, inversion.QUALITY[songs.inversion_quality])


def _digest(frames: np.ndarray) -> dict[str, str]:
    """Return the hash of the frames, by which two makings of a song can be compared."""
    return {"frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest()}
