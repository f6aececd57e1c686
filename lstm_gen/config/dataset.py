"""Settings of a dataset: segments, held-out splits, labels."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

DTYPES = ("float16", "float32", "int16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How a recording's frames are cut and stored.

    Attributes:
      segment_frames: Longest segment, frames; a recording is cut into near-equal segments.
      example_seconds: Length of a fixed-length example, seconds, which is then what a segment
        is; 0 for segments of `segment_frames`.
      max_examples: Most examples of a recording, from its beginning on; 0 for all.
      trim_db: Frames at either end (and silences inside) that stay this many dB under the
        recording's loud level are left out; 0 keeps everything. Of examples, those that are
        quiet throughout are left out.
      dtype: How a frame's values are stored: "float16", "float32", or, for a waveform,
        "int16" (sample * 32768).
    """

    segment_frames: int = 1024
    example_seconds: float = 0.0
    max_examples: int = 0
    trim_db: float = 30.0
    dtype: str = "float16"

    def __post_init__(self) -> None:
        fields.require_least(self, 2, "segment_frames")
        fields.require_sign(self, "example_seconds", "max_examples", "trim_db", zero=True)
        errors.require_choice("dtype", self.dtype, DTYPES)

    def example_samples(self, audio: AudioConfig) -> int:
        """Return the samples of an example, 0 for none."""
        return round(self.example_seconds * audio.sample_rate)


def require_fit(audio: AudioConfig, segment: SegmentConfig) -> None:
    """Refuse what a type cannot hold, examples of less than two frames, and some of no examples.

    Raises:
      InputError: Naming what does not fit.
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
class SplitConfig:
    """Which frames are held out.

    Attributes:
      split: "recording" keeps each recording whole on one side; "blocks" holds out
        interleaved blocks of every recording with a guard on each side; "pattern" holds out the
        recordings whose names `validation_pattern` matches; "auto" is blocks for one or two
        recordings, else recording.
      validation_pattern: Regular expression that is looked for in the name of each recording,
        folders included (pattern only).
      validation_fraction: Share of the material held out for validation.
      test_fraction: Share held out for the test split.
      block_seconds: Length of one held-out block, seconds (blocks only).
      guard_seconds: Material dropped on each side of a held-out block, seconds (blocks only).
    """

    split: str = "auto"
    validation_pattern: str = ""
    validation_fraction: float = 0.1
    test_fraction: float = 0.0
    block_seconds: float = 10.0
    guard_seconds: float = 1.0

    def __post_init__(self) -> None:
        errors.require_choice("split", self.split, ("auto", "recording", "blocks", "pattern"))
        errors.require(
            (self.validation_pattern != "") == (self.split == "pattern"),
            "validation_pattern is for split=pattern, which needs one",
            split=self.split,
            validation_pattern=self.validation_pattern,
        )
        errors.require(
            self.validation_fraction >= 0
            and self.test_fraction >= 0
            and self.validation_fraction + self.test_fraction <= 0.8,
            "validation_fraction and test_fraction must not be negative and leave at least "
            "a fifth for training",
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
        )
        errors.require(
            self.block_seconds > 0 and self.guard_seconds >= 0,
            "block_seconds must be positive and guard_seconds not negative",
            block_seconds=self.block_seconds,
            guard_seconds=self.guard_seconds,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """What is known of each recording beside its sound.

    Attributes:
      labels: Where it is written: "none", "folder", "csv", "nsynth" or "pattern".
      labels_file: The file, for csv and nsynth; empty for one among the recordings.
      labels_pattern: Regular expression with named groups over recordings' names, for pattern.
      label_names: Which labels to take, with their kinds if need be: "pitch:number,player".
    """

    labels: str = "none"
    labels_file: str = ""
    labels_pattern: str = ""
    label_names: str = ""

    def __post_init__(self) -> None:
        errors.require(
            self.labels in ("none", "folder", "csv", "nsynth", "pattern"),
            "labels must be none, folder, csv, nsynth or pattern",
            labels=self.labels,
        )
        errors.require(
            (self.labels_pattern != "") == (self.labels == "pattern")
            and (self.labels_file == "" or self.labels in ("csv", "nsynth"))
            and (self.label_names == "" or self.labels != "none"),
            "labels=pattern needs labels_pattern; labels_file is for csv or nsynth; none has names",
            **dataclasses.asdict(self),
        )
