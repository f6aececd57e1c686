"""Settings of generation: how many songs, how long, from what, in which format."""

import dataclasses
import math
import pathlib

from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.training import PRECISIONS
from lstm_gen.platform import errors

FORMATS = ("wav", "flac", "ogg", "mp3")
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
INVERSIONS = ("joint", "griffin_lim")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """What songs are asked for, and how they are written.

    Attributes:
      n_songs: Songs.
      songs_at_once: Songs that are rolled out in one batch, on one device.
      seconds: Length of each, seconds.
      seed: Song i of a seed is the same on any number of devices.
      temperature: How far draws go from what is likeliest; below 1 onsets vanish and rollouts fall
        silent.
      sigma_scale: Factor on the deviation that is sampled; 0.8 to 1 sounds natural.
      prior: What latents are drawn from; "" for the family's default.
      label: What the songs are to be, as `NAME=VALUE`; a label that the model is told and that is
        not here is drawn anew for each song.
      reconstruct: Recordings to send through the model and back, instead of making songs.
      interpolate: Two recordings, to make songs on the way from one to the other.
      perturb: Noise on the latents of a recording that is reconstructed, in deviations.
      transfer: Class to move a recording that is reconstructed from and to, `NAME:FROM:TO`.
      melody: Notes to play, or a MIDI file, with a model that is told pitches; "" for songs.
      note_seconds: Length of a note of a melody that is written without one.
      pitch_label: The label that holds the pitch, as MIDI note number.
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
    prior: str = ""
    label: tuple[str, ...] = ()
    reconstruct: tuple[str, ...] = ()
    interpolate: tuple[str, ...] = ()
    perturb: float = 0.0
    transfer: str = ""
    melody: str = ""
    note_seconds: float = 0.5
    pitch_label: str = "pitch"
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
        fields.require_least(self, 1, "n_songs", "songs_at_once")
        errors.require(
            0 <= self.seed < 1 << 31, "seed must be from 0 to 2147483647", seed=self.seed
        )
        for name in ("seconds", "temperature", "primer_seconds", "note_seconds"):
            value = getattr(self, name)
            errors.require(
                0 < value < math.inf, f"{name} must be positive and finite", **{name: value}
            )
        errors.require(
            self.sigma_scale >= 0, "sigma_scale must not be negative", sigma_scale=self.sigma_scale
        )
        self._check_recordings()
        choices = {
            "format": FORMATS,
            "subtype": SUBTYPES,
            "precision": PRECISIONS,
            "inversion": INVERSIONS,
            "inversion_quality": tuple(INVERSION_ITERATIONS),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            errors.require(
                value in allowed, f"{name} must be one of {', '.join(allowed)}", **{name: value}
            )
        errors.require(
            self.format != "flac" or self.subtype != "FLOAT",
            "FLAC holds integers; use --subtype=PCM_24 or --format=wav",
            format=self.format,
            subtype=self.subtype,
        )
        errors.require(
            not self.portable
            or (
                (self.n_songs, self.inversion, self.precision) == (1, "joint", "float32")
                and bool(self.primer)
                and not self.include_primer
            ),
            "--portable makes what an exported generator does: use --n_songs=1, --primer=FILE and "
            "no --include_primer, --inversion or --precision",
            n_songs=self.n_songs,
            primer=self.primer,
            include_primer=self.include_primer,
            inversion=self.inversion,
            precision=self.precision,
        )

    def _check_recordings(self) -> None:
        """Refuse what cannot be done with recordings, or not at once."""
        fields.require_sign(self, "perturb", zero=True)
        errors.require(
            len(self.interpolate) in (0, 2),
            "interpolate takes two recordings",
            interpolate=",".join(self.interpolate),
        )
        instead = ("portable", "melody", "reconstruct", "interpolate")
        asked = [f"--{name}" for name in instead if getattr(self, name)]
        errors.require(
            len(asked) < 2,
            "one thing at a time, of " + ", ".join(f"--{name}" for name in instead),
            asked=" ".join(asked),
        )
        errors.require(
            not (self.prior and (self.reconstruct or self.interpolate)),
            "prior is what songs are drawn from, and a recording has its own latents; leave it out",
            prior=self.prior,
        )
        stems = [pathlib.PurePosixPath(path).stem for path in self.reconstruct]
        errors.require(
            len(set(stems)) == len(stems),
            "recordings to reconstruct must differ in their names, which sounds are named after",
            reconstruct=",".join(self.reconstruct),
        )
        errors.require(
            bool(self.reconstruct) or (self.perturb == 0 and not self.transfer),
            "perturb and transfer change a recording; name one with --reconstruct=FILE",
            perturb=self.perturb,
            transfer=self.transfer,
        )


def is_midi(melody: str) -> bool:
    """Say whether a melody is a MIDI file rather than notes written out."""
    return melody.lower().endswith((".mid", ".midi"))
