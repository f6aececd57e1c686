"""Settings of a dataset: segments, held-out splits, transposed copies, labels."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

_MOST_SEMITONES = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig(fields.Settings):
    """Records of the dataset: segments of recordings."""

    segment_frames: int = fields.setting(
        1024,
        "Longest segment; recordings are cut into segments of nearly equal length. Training "
        "windows (timesteps + shift frames) are cut from within a segment, so it must be at least "
        "as long; several times as long wastes less.",
        unit="frames",
        at_least=2,
    )
    example_seconds: float = fields.setting(
        0.0,
        "Length of fixed-length examples, as for single notes, in place of segments of up to "
        "segment_frames. A longer recording gives consecutive examples; a shorter one is padded "
        "with silence, and so is a remainder of at least half the length.",
        unit="s",
        at_least=0,
        zero="off",
    )
    max_examples: int = fields.setting(
        0,
        "Most examples of a recording, from its beginning on: 1 keeps the attacks of notes.",
        at_least=0,
        zero="all",
    )
    trim_db: float = fields.setting(
        30.0,
        "Frames at either end of a recording, and long pauses, that stay this far below its loud "
        "level are left out: a model trained on fades falls silent. Of fixed-length examples, "
        "those that are quiet throughout are left out.",
        unit="dB",
        at_least=0,
        zero="keep everything",
    )
    dtype: str = fields.setting(
        "float16",
        "Type of stored values. float16 takes half the bytes and is precise to 0.03 dB or better. "
        "int16 (sample * 32768) is for waveform: 16-bit recordings that keep their sample rate are "
        "stored exactly.",
        choices=("float16", "float32", "int16"),
    )

    def example_samples(self, audio: AudioConfig) -> int:
        """Return the samples of an example, 0 for none."""
        return round(self.example_seconds * audio.sample_rate)


def require_fit(audio: AudioConfig, segment: SegmentConfig) -> None:
    """Raise InputError where segments do not suit the analysis.

    Raises:
      InputError: Naming the settings that do not go together.
    """
    errors.require(
        segment.dtype != "int16" or audio.representation == "waveform",
        "dtype int16 holds samples of a waveform; use float16 or float32",
        dtype=segment.dtype,
        representation=audio.representation,
    )
    errors.require(
        segment.example_seconds == 0 or segment.example_samples(audio) >= 2 * audio.hop_length,
        "example_seconds must be long enough for two frames of hop_length samples",
        example_seconds=segment.example_seconds,
        hop_length=audio.hop_length,
    )
    errors.require(
        segment.max_examples == 0 or segment.example_seconds > 0,
        "max_examples counts examples of a fixed length; set example_seconds too",
        max_examples=segment.max_examples,
        example_seconds=segment.example_seconds,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig(fields.Settings):
    """Held-out splits: recordings or blocks for validation and test."""

    split: str = fields.setting(
        "auto",
        "Unit that is held out. recording: whole recordings, chosen by their content. blocks: "
        "interleaved blocks of every recording, with a guard on each side. pattern: recordings "
        "whose names match validation_pattern. auto: blocks for one or two recordings, and for "
        "fewer than 20 where half of them or more, to judge by the size of their files, are three "
        "blocks long; else recording.",
        choices=("auto", "recording", "blocks", "pattern"),
    )
    validation_pattern: str = fields.setting(
        "",
        r"Regular expression searched for in each name, folders included; for split=pattern. "
        r"'_\d*[05]_' holds out every fifth pitch of names like piano_060_75.flac.",
    )
    validation_fraction: float = fields.setting(
        0.1,
        "Fraction of the material held out to validate a model while it trains.",
        at_least=0,
        at_most=0.8,
    )
    test_fraction: float = fields.setting(
        0.0,
        "Fraction held out for a test at the end; with validation_fraction at most 0.8.",
        at_least=0,
        at_most=0.8,
    )
    block_seconds: float = fields.setting(
        10.0,
        "Length of a held-out block, longer than a training window. For split=blocks.",
        unit="s",
        above=0,
    )
    guard_seconds: float = fields.setting(
        1.0,
        "Material dropped on each side of a held-out block, so that no note rings across. For "
        "split=blocks.",
        unit="s",
        at_least=0,
    )

    def check(self) -> None:
        """Raise InputError for a pattern without its split, and where too little is left."""
        errors.require(
            (self.validation_pattern != "") == (self.split == "pattern"),
            "validation_pattern is for split=pattern, which needs one",
            split=self.split,
            validation_pattern=self.validation_pattern,
        )
        errors.require(
            self.validation_fraction + self.test_fraction <= 0.8,
            "validation_fraction and test_fraction must leave at least a fifth for training",
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranspositionConfig(fields.Settings):
    """Transposed copies of what trains."""

    augment_semitones: str = fields.setting(
        "0",
        "Semitones by which training recordings are transposed, as in -3,-2,-1,0,1,2,3: each is "
        "stored as it is (0) and once more for each other number, played faster (up) or slower "
        "(down), like a tape. Held-out material is only stored as it is. Copies take disk and "
        "time; a label pitch, or one whose name ends in _pitch, follows, and a copy whose pitch "
        "would leave 0 to 127 is not made.",
        unit="semitones",
    )

    def check(self) -> None:
        """Raise InputError unless the semitones are in order, within an octave, with 0."""
        semitones = fields.integers("augment_semitones", self.augment_semitones)
        errors.require(
            list(semitones) == sorted({0, *semitones})
            and max(map(abs, semitones)) <= _MOST_SEMITONES,
            f"augment_semitones must be different numbers from -{_MOST_SEMITONES} to "
            f"{_MOST_SEMITONES} in ascending order, 0 among them",
            augment_semitones=self.augment_semitones,
        )

    @property
    def copies(self) -> tuple[int, ...]:
        """Semitones of the copies beside the recording itself."""
        semitones = fields.integers("augment_semitones", self.augment_semitones)
        return tuple(number for number in semitones if number)


def speed(semitones: int) -> float:
    """Return how much faster a recording plays when it is transposed: 2^(semitones / 12)."""
    return float(2 ** (semitones / 12))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelConfig(fields.Settings):
    """Labels of the recordings: a genre, a pitch, a player."""

    labels: str = fields.setting(
        "none",
        "Source of labels. folder: rock/song.wav has the label folder=rock. csv: a table whose "
        "column `file` names the recordings; every other column is a label, as in "
        "`file,pitch,mood` and `a.wav,60,calm|slow`. nsynth: NSynth's examples.json. pattern: the "
        "recordings' names.",
        choices=("none", "folder", "csv", "nsynth", "pattern"),
    )
    labels_file: str = fields.setting(
        "",
        "Table for labels=csv or nsynth. Default: labels.csv or examples.json in input_dir. The "
        "names in it may lack folder and suffix.",
        path="input",
    )
    labels_pattern: str = fields.setting(
        "",
        r"Regular expression searched for in each name, folders included; its named groups are "
        r"labels. '(?P<digit>\d)_(?P<speaker>\w+)_' finds digit 7, speaker theo in 7_theo_0.wav.",
    )
    label_names: str = fields.setting(
        "",
        "Labels to keep, by default all, each with its kind if need be: class (one of several), "
        "multi (any of several, separated by | in a table) or number, as in digit:class,speaker. "
        "The default kind is number if all values are numbers, else multi if any value has a |, "
        "else class.",
    )

    def check(self) -> None:
        """Raise InputError for options of another source of labels."""
        errors.require(
            (self.labels_pattern != "") == (self.labels == "pattern")
            and (self.labels_file == "" or self.labels in ("csv", "nsynth"))
            and (self.label_names == "" or self.labels != "none"),
            "labels=pattern needs labels_pattern; labels_file is for csv or nsynth; none has names",
            **dataclasses.asdict(self),
        )
