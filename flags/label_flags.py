"""What is known of each recording beside its sound: a genre, a pitch, a player."""

from absl import flags

from flags import storage_flags
from lstm_gen.config.dataset import LabelConfig

_LABELS = flags.DEFINE_enum(
    "labels",
    LabelConfig.labels,
    ["none", "folder", "csv", "nsynth", "pattern"],
    "Where labels are written. folder: rock/song.wav has the label folder=rock. csv: a table whose "
    "column `file` names the recordings; every other column is a label, as in `file,pitch,mood` "
    "and `a.wav,60,calm|slow`. nsynth: NSynth's examples.json. pattern: the recordings' names.",
)
_LABELS_FILE = flags.DEFINE_string(
    "labels_file",
    LabelConfig.labels_file,
    "The table, as in --labels=csv --labels_file=about/songs.csv. When not given: labels.csv or "
    "examples.json in input_dir. Its names may lack folder and suffix.",
)
_LABELS_PATTERN = flags.DEFINE_string(
    "labels_pattern",
    LabelConfig.labels_pattern,
    "Regular expression that is looked for in each name, folders included; its named groups "
    r"are labels. '(?P<digit>\d)_(?P<speaker>\w+)_' finds digit 7, speaker theo in 7_theo_0.wav.",
)
_LABEL_NAMES = flags.DEFINE_string(
    "label_names",
    LabelConfig.label_names,
    "Labels to take, if not all, each perhaps with its kind: class (one of several), multi (any of "
    "several, separated by | in a table) or number, as in digit:class,speaker. A kind not given is "
    "number if all values are numbers, else multi if any value has a |, else class.",
)


def config() -> LabelConfig:
    """Return the labels that the flags ask for."""
    file = _LABELS_FILE.value
    return LabelConfig(
        labels=_LABELS.value,
        labels_file=storage_flags.input_path(file) if file else "",
        labels_pattern=_LABELS_PATTERN.value,
        label_names=_LABEL_NAMES.value,
    )
