"""What becomes of a folder of recordings: how it is cut, what is held out, who does the work."""

from absl import flags

from flags import storage_flags
from lstm_gen.config.dataset import SegmentConfig, SplitConfig

_INPUT_DIR = flags.DEFINE_string(
    "input_dir",
    "recordings",
    "Folder of recordings; every WAV, FLAC, Ogg, MP3, AIFF, Opus ... at any depth is read, and M4A "
    "and the like where ffmpeg is installed. Nothing in it is changed.",
)
_WORKERS = flags.DEFINE_integer(
    "workers",
    0,
    "Worker processes, up to 1 GB of memory each; 0 for one per core. The dataset is the same, "
    "byte for byte, whatever their number.",
    lower_bound=0,
)
_RUNNER = flags.DEFINE_string(
    "runner",
    "local",
    "Who does the work: local for worker processes on this machine, or a runner of Apache Beam, "
    "such as DirectRunner or DataflowRunner (pip install 'lstm_gen[beam]'). The dataset is the "
    "same, byte for byte; all of Beam's workers must reach input_dir and data_dir.",
)
_RUNNER_OPTIONS = flags.DEFINE_multi_string(
    "runner_option",
    [],
    "A flag for Beam's runner, to be given as often as needed: --runner_option=--project=mine "
    "--runner_option=--region=europe-west4 --runner_option=--setup_file=./setup.py",
)
_PLOTS_DIR = flags.DEFINE_string(
    "plots_dir",
    "",
    "Directory for a spectrogram PNG of each recording that this run reads; none when not given.",
)
_OVERWRITE = flags.DEFINE_boolean(
    "overwrite",
    False,
    "Replace a dataset in data_dir that was made with other settings. New, changed and removed "
    "recordings need no flag: only their shards are written again.",
)
_MAX_BAD_FRACTION = flags.DEFINE_float(
    "max_bad_fraction",
    0.5,
    "Exit with status 1 if a larger share of the recordings than this had to be left out (broken, "
    "cut short, silent ...). The dataset of the others is there all the same. By default a few bad "
    "files are no failure, and a folder of which most is lost is; 0 accepts none, 1 any number.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_SEGMENT_FRAMES = flags.DEFINE_integer(
    "segment_frames",
    SegmentConfig.segment_frames,
    "Longest record, frames, 2 or more. Training windows (timesteps + shift frames) are cut from "
    "within one, so it must be at least as long; several times as long wastes less.",
)
_EXAMPLE_SECONDS = flags.DEFINE_float(
    "example_seconds",
    SegmentConfig.example_seconds,
    "Make every record exactly this long, as for single notes, instead of up to segment_frames: a "
    "longer recording gives consecutive ones, a shorter one is filled up with silence, and so is "
    "a rest of at least half the length. 0 for off.",
)
_MAX_EXAMPLES = flags.DEFINE_integer(
    "max_examples",
    SegmentConfig.max_examples,
    "Most examples of a recording, from its beginning on: 1 keeps the attacks of notes. 0 for all.",
)
_TRIM_DB = flags.DEFINE_float(
    "trim_db",
    SegmentConfig.trim_db,
    "Leave out lead-in, fade-out and pauses this far below a recording's loud level, dB; fades "
    "left in teach a model to fall silent. 0 keeps everything.",
)
_DTYPE = flags.DEFINE_enum(
    "dtype",
    SegmentConfig.dtype,
    ["float16", "float32", "int16"],
    "How values are stored. float16 is half the bytes and precise to 0.03 dB or better. int16 is "
    "for waveform: 16-bit recordings that keep their sample rate come back bit for bit.",
)
_SPLIT = flags.DEFINE_enum(
    "split",
    SplitConfig.split,
    ["auto", "recording", "blocks", "pattern"],
    "What is held out. recording: whole recordings, chosen by their content. blocks: guarded "
    "blocks of every recording. pattern: those whose names --validation_pattern matches. auto: "
    "blocks for one or two recordings, else recording.",
)
_VALIDATION_PATTERN = flags.DEFINE_string(
    "validation_pattern",
    SplitConfig.validation_pattern,
    r"Regular expression that is looked for in each name, folders included, with --split=pattern: "
    r"'_\d*[05]_' holds out every fifth pitch of names like piano_060_75.flac.",
)
_VALIDATION_FRACTION = flags.DEFINE_float(
    "validation_fraction",
    SplitConfig.validation_fraction,
    "Share held out to judge a model while it trains, 0 to 0.8.",
)
_TEST_FRACTION = flags.DEFINE_float(
    "test_fraction",
    SplitConfig.test_fraction,
    "Share held out to judge it once, at the end, 0 to 0.8; with validation_fraction at most 0.8.",
)
_BLOCK_SECONDS = flags.DEFINE_float(
    "block_seconds",
    SplitConfig.block_seconds,
    "Length of a held-out block, seconds (split blocks). Longer than a training window.",
)
_GUARD_SECONDS = flags.DEFINE_float(
    "guard_seconds",
    SplitConfig.guard_seconds,
    "Left out on each side of a held-out block, seconds (split blocks): no note rings across.",
)


def input_dir() -> str:
    """Return where the recordings are."""
    return storage_flags.input_path(_INPUT_DIR.value)


def plots_dir() -> str:
    """Return where spectrograms go, or an empty string for none."""
    return storage_flags.output_path(_PLOTS_DIR.value) if _PLOTS_DIR.value else ""


def workers() -> int:
    """Return how many worker processes to use, 0 for one per core."""
    return int(_WORKERS.value)


def runner() -> str:
    """Return "local", or the name of a Beam runner."""
    return str(_RUNNER.value)


def runner_options() -> list[str]:
    """Return the flags for the Beam runner."""
    return list(_RUNNER_OPTIONS.value)


def overwrite() -> bool:
    """Whether another dataset may be replaced."""
    return bool(_OVERWRITE.value)


def max_bad_fraction() -> float:
    """Return the largest share of bad recordings to accept."""
    return float(_MAX_BAD_FRACTION.value)


def segment_config() -> SegmentConfig:
    """Return how recordings are cut and stored."""
    return SegmentConfig(
        segment_frames=_SEGMENT_FRAMES.value,
        example_seconds=_EXAMPLE_SECONDS.value,
        max_examples=_MAX_EXAMPLES.value,
        trim_db=_TRIM_DB.value,
        dtype=_DTYPE.value,
    )


def split_config() -> SplitConfig:
    """Return what is held out."""
    return SplitConfig(
        split=_SPLIT.value,
        validation_pattern=_VALIDATION_PATTERN.value,
        validation_fraction=_VALIDATION_FRACTION.value,
        test_fraction=_TEST_FRACTION.value,
        block_seconds=_BLOCK_SECONDS.value,
        guard_seconds=_GUARD_SECONDS.value,
    )
