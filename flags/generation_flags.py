"""Songs: how many, how long, from what, and how they are written."""

from absl import flags

from flags import device_flags, storage_flags
from lstm_gen.audio import inversion
from lstm_gen.generation import songs
from lstm_gen.generation.songs import SongConfig

_N_SONGS = flags.DEFINE_integer("n_songs", SongConfig.n_songs, "How many songs to make.")
_SONGS_AT_ONCE = flags.DEFINE_integer(
    "songs_at_once",
    SongConfig.songs_at_once,
    "Songs rolled out as one batch, which is one device's work: with four devices and four songs, "
    "1 keeps all of them busy. A song's last bits depend on it, but not on the devices.",
)
_SECONDS = flags.DEFINE_float("seconds", SongConfig.seconds, "Length of each song.")
_SEED = flags.DEFINE_integer(
    "seed", SongConfig.seed, "Another seed, other songs; the same seed, the same songs."
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature",
    SongConfig.temperature,
    "Of the choice among mixture components; below 1 onsets vanish and songs fall silent.",
)
_SIGMA_SCALE = flags.DEFINE_float(
    "sigma_scale",
    SongConfig.sigma_scale,
    "Factor on the sampled deviation: 0.8 is calmer, 1 as learned; 0 takes the mean.",
)
_PRIMER = flags.DEFINE_string(
    "primer",
    SongConfig.primer,
    "A recording of yours that the songs continue; all of it warms the model's state. Without it "
    "each song continues an excerpt of the dataset.",
)
_PRIMER_SECONDS = flags.DEFINE_float(
    "primer_seconds", SongConfig.primer_seconds, "Length of a dataset excerpt."
)
_INCLUDE_PRIMER = flags.DEFINE_boolean(
    "include_primer", SongConfig.include_primer, "Put the primer in front of the song."
)
_FORMAT = flags.DEFINE_enum("format", SongConfig.format, songs.FORMATS, "File format.")
_SUBTYPE = flags.DEFINE_enum(
    "subtype",
    SongConfig.subtype,
    songs.SUBTYPES,
    "16 or 24 bits per sample or 32-bit float, for WAV; FLAC takes the first two.",
)
_INVERSION = flags.DEFINE_enum(
    "inversion",
    SongConfig.inversion,
    songs.INVERSIONS,
    "How frames become sound: joint estimation of magnitude and phase, or plain Griffin-Lim.",
)
_INVERSION_QUALITY = flags.DEFINE_enum(
    "inversion_quality",
    SongConfig.inversion_quality,
    list(inversion.QUALITY),
    "Iterations of the joint inversion: "
    + ", ".join(f"{name} {count}" for name, count in inversion.QUALITY.items()),
)
_PORTABLE = flags.DEFINE_boolean(
    "portable",
    SongConfig.portable,
    "Make one song as an exported generator does (tools/export_model.py), sample for sample. By "
    "default kernels made for this machine are used, which round otherwise; inversion makes more "
    "of that, so that samples differ from about the third digit on, and nobody hears it.",
)


def config() -> SongConfig:
    """Return the songs asked for."""
    return SongConfig(
        n_songs=_N_SONGS.value,
        songs_at_once=_SONGS_AT_ONCE.value,
        seconds=_SECONDS.value,
        seed=_SEED.value,
        temperature=_TEMPERATURE.value,
        sigma_scale=_SIGMA_SCALE.value,
        primer=storage_flags.input_path(_PRIMER.value) if _PRIMER.value else "",
        primer_seconds=_PRIMER_SECONDS.value,
        include_primer=_INCLUDE_PRIMER.value,
        format=_FORMAT.value,
        subtype=_SUBTYPE.value,
        precision=device_flags.precision(),
        inversion=_INVERSION.value,
        inversion_quality=_INVERSION_QUALITY.value,
        portable=_PORTABLE.value,
    )
