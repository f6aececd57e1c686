"""Settings of generation: songs, their sources, and files."""

import dataclasses
import pathlib

from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.training import TrainingConfig
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationConfig(fields.Settings):
    """Songs and their files."""

    n_songs: int = fields.setting(4, "Songs to make.", at_least=1)
    songs_at_once: int = fields.setting(
        16,
        "Songs rolled out as one batch, on one device: with four devices and four songs, 1 keeps "
        "all of them busy. The last bits of a song depend on it, but not on the devices.",
        at_least=1,
    )
    seconds: float = fields.setting(20.0, "Length of each song.", unit="s", above=0)
    seed: int = fields.setting(
        0,
        "Seed: another seed makes other songs, the same seed the same songs, on any number of "
        "devices.",
        at_least=0,
        at_most=2147483647,
    )
    temperature: float | None = fields.setting(
        None,
        "Sampling temperature: factor on the noise that samples are drawn with; of lstm's mixtures "
        "the temperature of the choice among components, where less than 1 falls silent. By "
        "default as calibrated in training, or 1.",
        above=0,
    )
    sigma_scale: float | None = fields.setting(
        None,
        "Factor on the sampled deviation: 1 is as learned, 0.8 calmer, 0 takes the mean. By "
        "default as calibrated in training, or 1.",
        at_least=0,
    )
    neighbour_weight: float | None = fields.setting(
        None,
        "Fraction of the way that each generated patch is moved towards its nearest patches of the "
        "training recordings. It keeps notes clear over long songs; high values copy more. By "
        "default as calibrated in training, or 0.",
        at_least=0,
        at_most=1,
    )
    prior: str = fields.setting(
        "",
        "Prior that latents are drawn from. sequence: a mixture, each step given the ones before; "
        "gmm: a mixture of Gaussians; gaussian: one Gaussian with full covariance; these three are "
        "fitted to the training split. standard: the standard normal. mixture: a mixture learned "
        "in training (vae with --prior_components). The default is the first of these that the "
        "model has.",
    )
    label: tuple[str, ...] = fields.setting(
        (),
        "Label of the songs, of a model trained with --condition: --label pitch=60 --label "
        "instrument=altosax. Labels that are not given are drawn for each song. Where the model "
        "can, songs move from one value to another: 'pitch=60|72' plays a scale (keep the quotes), "
        "'instrument=altosax|grandpiano' changes from one instrument to the other.",
        repeatable=True,
    )
    reconstruct: tuple[str, ...] = fields.setting(
        (),
        "Recordings to encode and decode in place of making songs; written with the original and "
        "with the original inverted without the model.",
        path="input",
    )
    interpolate: tuple[str, ...] = fields.setting(
        (),
        "Two recordings, A,B: the songs are --n_songs steps of an interpolation between them.",
        path="input",
    )
    perturb: float = fields.setting(
        0.0,
        "With --reconstruct, --n_songs more with this much noise on the latents, in deviations "
        "over the dataset.",
        at_least=0,
    )
    transfer: str = fields.setting(
        "",
        "With --reconstruct, once more as another class: NAME:FROM:TO, as in folder:piano:guitar.",
    )
    melody: str = fields.setting(
        "",
        "Melody for a model conditioned on pitch: MIDI note numbers, with seconds if need be "
        "(60,62:1.5,-:0.5,64; - is a rest), or a .mid file, which needs pip install "
        "'lstm_gen[midi]'.",
    )
    note_seconds: float = fields.setting(
        0.5, "Length of notes of --melody that state none.", unit="s", above=0
    )
    pitch_label: str = fields.setting(
        "pitch",
        "Label that is a pitch, as MIDI note number. gan and note_vae encode it as harmonics, "
        "melodies are played by it, and evaluations measure it.",
    )
    primer: str = fields.setting(
        "",
        "Recording that the songs continue; all of it warms up the model's state. By default each "
        "song continues an excerpt of the dataset.",
        path="input",
    )
    primer_seconds: float = fields.setting(4.0, "Length of a dataset excerpt.", unit="s", above=0)
    include_primer: bool = fields.setting(False, "Put the primer in front of the song.")
    format: str = fields.setting("wav", "File format.", choices=("wav", "flac", "ogg", "mp3"))
    subtype: str = fields.setting(
        "PCM_16",
        "16 or 24 bits per sample or 32-bit float, for WAV; FLAC takes the first two.",
        choices=("PCM_16", "PCM_24", "FLOAT"),
    )
    precision: str = fields.like(TrainingConfig, "precision")
    inversion: str = fields.setting(
        "joint",
        "Inversion of frames to sound: joint estimation of magnitude and phase, or, of log_mel, "
        "plain Griffin-Lim.",
        choices=("joint", "griffin_lim"),
    )
    inversion_quality: str = fields.setting(
        "standard",
        "Iterations of the joint inversion: "
        + ", ".join(f"{name} {count}" for name, count in INVERSION_ITERATIONS.items())
        + ".",
        choices=tuple(INVERSION_ITERATIONS),
    )
    portable: bool = fields.setting(
        False,
        "Make one song as an exported generator does (`lstm_gen export`), sample for sample. By "
        "default kernels compiled for this machine are used, which round differently; inversion "
        "amplifies that, so that samples differ from about the third digit on, inaudibly.",
    )

    def check(self) -> None:
        """Raise InputError for formats and tasks that exclude each other."""
        self._check_recordings()
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
            "--portable makes an exported generator's song: use --n_songs=1, --primer=FILE and "
            "no --include_primer, --inversion or --precision",
            n_songs=self.n_songs,
            primer=self.primer,
            include_primer=self.include_primer,
            inversion=self.inversion,
            precision=self.precision,
        )

    def _check_recordings(self) -> None:
        """Raise InputError for recordings that cannot be processed, or not at once."""
        errors.require(
            len(self.interpolate) in (0, 2),
            "interpolate takes two recordings",
            interpolate=",".join(self.interpolate),
        )
        instead = ("portable", "melody", "reconstruct", "interpolate")
        given = [f"--{name}" for name in instead if getattr(self, name)]
        errors.require(
            len(given) < 2,
            "only one of " + ", ".join(f"--{name}" for name in instead) + " can be given",
            given=" ".join(given),
        )
        errors.require(
            not (self.prior and (self.reconstruct or self.interpolate)),
            "prior is for songs, and a recording has latents of its own; leave it out",
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
    """Whether a melody is a MIDI file rather than a list of notes."""
    return melody.lower().endswith((".mid", ".midi"))
