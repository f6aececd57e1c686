"""Songs: how many, how long, from what, and how they are written."""

from absl import flags

from flags import device_flags, pitch_flags, storage_flags
from lstm_gen import models
from lstm_gen.config import generation as generation_config
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.generation import GenerationConfig

_N_SONGS = flags.DEFINE_integer("n_songs", GenerationConfig.n_songs, "How many songs to make.")
_SONGS_AT_ONCE = flags.DEFINE_integer(
    "songs_at_once",
    GenerationConfig.songs_at_once,
    "Songs rolled out as one batch, which is one device's work: with four devices and four songs, "
    "1 keeps all of them busy. A song's last bits depend on it, but not on the devices.",
)
_SECONDS = flags.DEFINE_float("seconds", GenerationConfig.seconds, "Length of each song.")
_SEED = flags.DEFINE_integer(
    "seed", GenerationConfig.seed, "Another seed, other songs; the same seed, the same songs."
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature",
    GenerationConfig.temperature,
    "How far draws go from what is likeliest. lstm: of the choice among mixture components, where "
    "below 1 onsets vanish and songs fall silent. Others: factor on the deviation of latents.",
)
_SIGMA_SCALE = flags.DEFINE_float(
    "sigma_scale",
    GenerationConfig.sigma_scale,
    "Factor on the sampled deviation: 0.8 is calmer, 1 as learned; 0 takes the mean.",
)
_PRIOR = flags.DEFINE_string(
    "prior",
    GenerationConfig.prior,
    "What latents are drawn from, for models that have several priors: "
    + "; ".join(f"{one.family}: {', '.join(one.priors)}" for one in models.CONFIGS if one.priors)
    + ". The default is the first that could be fitted.",
)
_LABEL = flags.DEFINE_multi_string(
    "label",
    [],
    "What the songs are to be, of a model trained with --condition: --label pitch=60 --label "
    "instrument=altosax. A label that is not given is drawn anew for each song. Where a model can, "
    "songs go from one value to another: 'pitch=60|72' plays a scale (keep the quotes), "
    "'instrument=altosax|grandpiano' goes from one to the other.",
)
_RECONSTRUCT = flags.DEFINE_list(
    "reconstruct",
    [],
    "Recordings to send through the model and back instead of making songs; written beside the "
    "original, and beside the same inverted without the model.",
)
_INTERPOLATE = flags.DEFINE_list(
    "interpolate", [], "Two recordings, A,B: songs are --n_songs steps on the way from A to B."
)
_PERTURB = flags.DEFINE_float(
    "perturb",
    GenerationConfig.perturb,
    "With --reconstruct, --n_songs more with this much noise on the latents, where 1 is as far as "
    "they differ from each other in the dataset.",
)
_TRANSFER = flags.DEFINE_string(
    "transfer",
    GenerationConfig.transfer,
    "With --reconstruct, once more as another class: NAME:FROM:TO, as in folder:piano:guitar.",
)
_MELODY = flags.DEFINE_string(
    "melody",
    GenerationConfig.melody,
    "Play this with a model that is told pitches: MIDI note numbers, with seconds if need be "
    "(60,62:1.5,-:0.5,64; - rests), or a .mid file, which needs pip install 'lstm_gen[midi]'.",
)
_NOTE_SECONDS = flags.DEFINE_float(
    "note_seconds", GenerationConfig.note_seconds, "Length of a note of --melody without its own."
)
_PRIMER = flags.DEFINE_string(
    "primer",
    GenerationConfig.primer,
    "A recording of yours that the songs continue; all of it warms the model's state. Without it "
    "each song continues an excerpt of the dataset.",
)
_PRIMER_SECONDS = flags.DEFINE_float(
    "primer_seconds", GenerationConfig.primer_seconds, "Length of a dataset excerpt."
)
_INCLUDE_PRIMER = flags.DEFINE_boolean(
    "include_primer", GenerationConfig.include_primer, "Put the primer in front of the song."
)
_FORMAT = flags.DEFINE_enum(
    "format", GenerationConfig.format, ("wav", "flac", "ogg", "mp3"), "File format."
)
_SUBTYPE = flags.DEFINE_enum(
    "subtype",
    GenerationConfig.subtype,
    ("PCM_16", "PCM_24", "FLOAT"),
    "16 or 24 bits per sample or 32-bit float, for WAV; FLAC takes the first two.",
)
_INVERSION = flags.DEFINE_enum(
    "inversion",
    GenerationConfig.inversion,
    ("joint", "griffin_lim"),
    "How frames become sound: joint estimation of magnitude and phase, or, of log_mel, plain "
    "Griffin-Lim.",
)
_INVERSION_QUALITY = flags.DEFINE_enum(
    "inversion_quality",
    GenerationConfig.inversion_quality,
    list(INVERSION_ITERATIONS),
    "Iterations of the joint inversion: "
    + ", ".join(f"{name} {count}" for name, count in INVERSION_ITERATIONS.items()),
)
_PORTABLE = flags.DEFINE_boolean(
    "portable",
    GenerationConfig.portable,
    "Make one song as an exported generator does (tools/export_model.py), sample for sample. By "
    "default kernels made for this machine are used, which round otherwise; inversion makes more "
    "of that, so that samples differ from about the third digit on, and nobody hears it.",
)


def config() -> GenerationConfig:
    """Return the songs asked for."""
    return GenerationConfig(
        n_songs=_N_SONGS.value,
        songs_at_once=_SONGS_AT_ONCE.value,
        seconds=_SECONDS.value,
        seed=_SEED.value,
        temperature=_TEMPERATURE.value,
        sigma_scale=_SIGMA_SCALE.value,
        prior=_PRIOR.value,
        label=tuple(_LABEL.value),
        reconstruct=tuple(map(storage_flags.input_path, _RECONSTRUCT.value)),
        interpolate=tuple(map(storage_flags.input_path, _INTERPOLATE.value)),
        perturb=_PERTURB.value,
        transfer=_TRANSFER.value,
        melody=_melody(),
        note_seconds=_NOTE_SECONDS.value,
        pitch_label=pitch_flags.pitch_label(),
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


def _melody() -> str:
    """Return the melody, where it is read from if that is a file."""
    melody = _MELODY.value
    return storage_flags.input_path(melody) if generation_config.is_midi(melody) else melody
