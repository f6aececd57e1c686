import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from lstm_gen.config import audio as audio_config
from lstm_gen.config import dataset as dataset_config
from lstm_gen.config import fields
from lstm_gen.config import training as training_config
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig, TranspositionConfig
from lstm_gen.config.training import (
    AugmentationConfig,
    DeviceConfig,
    MonitorConfig,
    TrainingConfig,
    WindowConfig,
)
from lstm_gen.platform import errors

CLASSES = [
    AudioConfig,
    SegmentConfig,
    SplitConfig,
    TranspositionConfig,
    WindowConfig,
    AugmentationConfig,
    TrainingConfig,
    MonitorConfig,
    DeviceConfig,
]
REFUSED: list[tuple[type, dict[str, object], str]] = [
    (AudioConfig, {"sample_rate": 999}, "sample_rate must be"),
    (AudioConfig, {"sample_rate": 384_001}, "sample_rate must be"),
    (AudioConfig, {"n_fft": 2047}, "n_fft must be even"),
    (AudioConfig, {"n_fft": 14}, "n_fft must be from 16 to 65536 samples"),
    (AudioConfig, {"n_fft": 65538}, "n_fft must be from 16 to 65536 samples"),
    (AudioConfig, {"hop_length": 0}, "hop_length must be"),
    (AudioConfig, {"hop_length": 1025}, "hop_length must be"),
    (AudioConfig, {"n_mels": 0}, "n_mels must be"),
    (AudioConfig, {"n_mels": 1025}, "n_mels must be"),
    (AudioConfig, {"mel_break_hz": 19.0}, "mel_break_hz must be from 20 to 20000 Hz"),
    (AudioConfig, {"fmin_hz": -1.0}, "fmin_hz must be"),
    (AudioConfig, {"fmin_hz": 8000.0, "fmax_hz": 8000.0}, "fmin_hz must be"),
    (AudioConfig, {"fmax_hz": 11025.1}, "fmin_hz must be"),
    (AudioConfig, {"fmax_hz": float("nan")}, "fmax_hz must be"),
    (AudioConfig, {"log_floor": 0.0}, "log_floor must be"),
    (AudioConfig, {"log_floor": float("inf")}, "log_floor must be"),
    (SegmentConfig, {"segment_frames": 1}, "segment_frames must be"),
    (TranspositionConfig, {"augment_semitones": "1,2"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": "0,0"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": "-13,0"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": "0,13"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": "1,0"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": "0,1,1"}, "augment_semitones must be different"),
    (TranspositionConfig, {"augment_semitones": ""}, "augment_semitones must be whole"),
    (TranspositionConfig, {"augment_semitones": "0,x"}, "augment_semitones must be whole"),
    (TranspositionConfig, {"augment_semitones": "0.5,0"}, "augment_semitones must be whole"),
    (TranspositionConfig, {"augment_semitones": "-3,,0"}, "augment_semitones must be whole"),
    (AudioConfig, {"representation": "mfcc"}, "representation must be one of log_mel, act"),
    (AudioConfig, {"phase": "none"}, "phase must be one of instantaneous_frequency, real"),
    (AudioConfig, {"normalisation": "rank"}, "normalisation must be one of standard, min"),
    (AudioConfig, {"n_bins": 8}, "n_bins keeps bins of log_stft and complex_stft"),
    (SegmentConfig, {"trim_db": -0.1}, "trim_db must be at least 0 dB .0: keep everything."),
    (
        SegmentConfig,
        {"trim_db": float("inf")},
        "trim_db must be at least 0 dB .0: keep everything.",
    ),
    (SegmentConfig, {"example_seconds": -1.0}, "example_seconds must be at least 0 s .0: off."),
    (SegmentConfig, {"max_examples": -1}, "max_examples must be at least 0 .0: all."),
    (SegmentConfig, {"dtype": "float64"}, "dtype must be"),
    (SplitConfig, {"split": "random"}, "split must be"),
    (SplitConfig, {"split": "pattern"}, "split=pattern, which needs one"),
    (SplitConfig, {"validation_pattern": "a"}, "validation_pattern is for split=pattern"),
    (SplitConfig, {"validation_fraction": -0.1}, "validation_fraction must be from 0 to 0.8"),
    (SplitConfig, {"test_fraction": -0.1}, "test_fraction must be from 0 to 0.8"),
    (SplitConfig, {"validation_fraction": 0.5, "test_fraction": 0.4}, "at least a fifth"),
    (SplitConfig, {"block_seconds": 0.0}, "block_seconds must be"),
    (SplitConfig, {"guard_seconds": -1.0}, "guard_seconds must be at least 0 s"),
    (WindowConfig, {"timesteps": 1}, "timesteps must be"),
    (WindowConfig, {"shift": -1}, "shift must be"),
    (WindowConfig, {"timesteps": 8, "shift": 9}, "shift must be"),
    (AugmentationConfig, {"gain_db": 61.0}, "gain_db must be"),
    (AugmentationConfig, {"shift_mels": -1}, "shift_mels must be"),
    (AugmentationConfig, {"transpose_semitones": 13.0}, "transpose_semitones must"),
    (WindowConfig, {"window_hop": -1}, "window_hop must be"),
    (TrainingConfig, {"batch_size": 0}, "batch_size must be"),
    (TrainingConfig, {"steps": 0}, "steps must be"),
    (TrainingConfig, {"learning_rate": 0.0}, "learning_rate must be"),
    (TrainingConfig, {"learning_rate": float("inf")}, "learning_rate must be"),
    (TrainingConfig, {"warmup_steps": -1}, "warmup_steps must be"),
    (TrainingConfig, {"final_learning_rate_fraction": 1.1}, "must be from 0 to 1"),
    (TrainingConfig, {"clip_norm": -1.0}, "clip_norm must be"),
    (TrainingConfig, {"weight_decay": -1.0}, "weight_decay must be"),
    (TrainingConfig, {"precision": "float16"}, "precision must be"),
    (TrainingConfig, {"seed": -1}, "seed must be from 0 to 2147483647"),
    (TrainingConfig, {"seed": 1 << 31}, "seed must be from 0 to 2147483647"),
    (TrainingConfig, {"ema": 1.0}, "ema must be from 0"),
    (TrainingConfig, {"accumulate": 0}, "accumulate must be"),
    (TrainingConfig, {"accumulate": 3}, "accumulate must divide batch_size"),
    (
        MonitorConfig,
        {"histogram_every_steps": -1},
        "histogram_every_steps must be",
    ),
    (MonitorConfig, {"steps_per_call": 0}, "steps_per_call must be"),
    (MonitorConfig, {"validate_every_steps": 0}, "validate_every_steps must be"),
    (
        MonitorConfig,
        {"checkpoint_every_steps": 0},
        "checkpoint_every_steps must be",
    ),
    (MonitorConfig, {"sample_every_steps": -1}, "sample_every_steps must be"),
    (MonitorConfig, {"patience": -1}, "patience must be"),
    (MonitorConfig, {"n_samples": 0}, "n_samples must be"),
    (MonitorConfig, {"keep_checkpoints": 0}, "keep_checkpoints must be"),
    (MonitorConfig, {"sample_seconds": 0.0}, "sample_seconds must be"),
    (DeviceConfig, {"device": "abacus"}, "device must be one of auto, cpu, gpu, tpu"),
    (DeviceConfig, {"cpu_devices": 0}, "cpu_devices must be at least 1"),
]


def changed(kind: type, **values: object) -> dict[str, object]:
    """Return the default configuration as JSON values, with some of them changed."""
    return {**fields.to_dict(kind()), **values}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_configuration_survives_json(kind: type) -> None:
    text = fields.to_json(fields.to_dict(kind()))
    assert fields.from_dict(kind, json.loads(text), "file.json") == kind()


def test_every_field_survives_json() -> None:
    audio = AudioConfig(
        sample_rate=44100,
        representation="complex_stft",
        n_bins=2048,
        phase="real_imaginary",
        normalisation="min_max",
        n_fft=4096,
        hop_length=1024,
        n_mels=80,
        mel_break_hz=700.0,
        n_atoms=64,
        fmin_hz=20.0,
        fmax_hz=16000.0,
        log_floor=1e-7,
    )
    defaults = fields.to_dict(AudioConfig())
    values = json.loads(fields.to_json(fields.to_dict(audio)))
    assert all(values[name] != defaults[name] for name in defaults)
    assert fields.from_dict(AudioConfig, values, "file.json") == audio


def test_what_is_attached_is_no_setting() -> None:
    fitted = audio_config.Fitted(n_bytes=1, sha256="ab", arrays={"a": np.zeros(1)})
    audio = AudioConfig(fitted=fitted)
    assert fields.to_dict(audio) == fields.to_dict(AudioConfig())
    assert "fitted" not in fields.settings_of(AudioConfig)
    assert audio == AudioConfig(fitted=dataclasses.replace(fitted, arrays={})) != AudioConfig()
    with pytest.raises(errors.InputError, match=r"unknown=\['fitted'\]"):
        fields.from_dict(AudioConfig, changed(AudioConfig, fitted=None), "file.json")


@pytest.mark.parametrize("kind", CLASSES)
def test_a_configuration_is_frozen(kind: type) -> None:
    field = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(kind(), field, 1)


@pytest.mark.parametrize(("kind", "values", "message"), REFUSED)
def test_a_bad_value_is_refused_by_name(
    kind: type, values: dict[str, object], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message) as caught:
        kind(**values)
    text = str(caught.value)
    assert "\n" not in text
    for name, value in values.items():
        assert f"{name}={value!r}" in text.partition("Received: ")[2]


def test_every_class_and_every_field_that_can_be_wrong_is_tested() -> None:
    classes = {
        value
        for module in (audio_config, dataset_config, training_config)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, fields.Settings)
    }
    elsewhere = {fields.Settings, LabelConfig}  # labels are tested with their sources
    assert classes - elsewhere == set(CLASSES)
    # Every value of their type is a good one; n_atoms counts for one representation only.
    free = {"best_weights", "polarity", "use_tpu", "n_atoms"}
    declared = {(kind, name) for kind in CLASSES for name in fields.settings_of(kind)}
    tested = {(kind, name) for kind, values, _ in REFUSED for name in values}
    assert {name for _, name in declared - tested} == free


def test_a_dictionary_has_atoms() -> None:
    AudioConfig(n_atoms=0)  # not of activations
    with pytest.raises(errors.InputError, match=r"n_atoms must be from 1 to 4096.*n_atoms=0"):
        AudioConfig(representation="activations", n_atoms=0)


def test_values_at_the_edge_are_taken() -> None:
    AudioConfig(n_fft=16, hop_length=8, n_mels=8, fmin_hz=0.0, fmax_hz=11025.0)
    SplitConfig(validation_fraction=0.4, test_fraction=0.4)
    WindowConfig(timesteps=2, shift=2)
    SegmentConfig(segment_frames=2, trim_db=0.0)
    TranspositionConfig(augment_semitones="-12, 0, +12")


@pytest.mark.parametrize(
    ("audio", "segment", "message"),
    [
        ({}, {"dtype": "int16"}, "int16 holds samples of a waveform.*representation='log_mel'"),
        ({"hop_length": 1000}, {"example_seconds": 0.09}, "long enough for two frames"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    audio: dict[str, Any], segment: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        dataset_config.require_fit(AudioConfig(**audio), SegmentConfig(**segment))


def test_limits_that_are_a_representations_own() -> None:
    with pytest.raises(errors.InputError, match=r"n_bins must be from 1 to 1 .*n_bins=1026"):
        AudioConfig(representation="log_stft", n_bins=1026)
    with pytest.raises(errors.InputError, match=r"hop_length must be from 1 to 65536 .*=65537"):
        AudioConfig(representation="waveform", hop_length=65537)


def test_what_a_representation_has_no_use_for_is_not_looked_at() -> None:
    AudioConfig(representation="log_stft", n_fft=64, hop_length=16)  # fewer bins than n_mels
    AudioConfig(representation="waveform", n_fft=2, hop_length=4096)


def test_channels_are_those_of_the_representation() -> None:
    def channels(representation: str, **values: Any) -> int:
        return AudioConfig(representation=representation, **values).channels

    assert channels("log_mel", n_mels=80) == 80
    assert channels("log_stft") == 1025
    assert channels("log_stft", n_bins=1024) == 1024
    assert channels("complex_stft", n_bins=512) == 1024
    assert channels("waveform", hop_length=300) == 300


def test_derived_values() -> None:
    audio = AudioConfig(sample_rate=16000, hop_length=160)
    assert audio.frames_per_second == 100.0
    assert audio.fmax_resolved_hz == 8000.0
    assert AudioConfig(fmax_hz=4000.0).fmax_resolved_hz == 4000.0
    window = WindowConfig(timesteps=100, shift=5)
    assert (window.frames, window.hop) == (105, 100)
    assert WindowConfig(timesteps=100, window_hop=30).hop == 30


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(errors.InputError, match=r"file\.json does not have .* unknown=\['hopp'\]"):
        fields.from_dict(AudioConfig, changed(AudioConfig, hopp=1), "file.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later:
    """A class that has lost a field and gained one since a file was written."""

    removed: ClassVar[Mapping[str, object]] = {"norm": "none"}
    added: ClassVar[Mapping[str, object]] = {"scale": "old"}

    units: int
    gained: int = 3
    scale: str = "new"


def test_a_missing_field_takes_its_default() -> None:
    values = changed(AudioConfig)
    del values["n_mels"]
    assert fields.from_dict(AudioConfig, values, "file.json") == AudioConfig()
    earlier = Later(units=2, gained=3, scale="old")
    assert fields.from_dict(Later, {"units": 2}, "file.json") == earlier
    with pytest.raises(errors.InputError, match=r"missing=\['units'\]"):
        fields.from_dict(Later, {"gained": 3}, "file.json")


def test_bands_of_files_that_do_not_say_where_the_scale_breaks_are_slaneys() -> None:
    values = changed(AudioConfig)
    del values["mel_break_hz"]
    assert fields.from_dict(AudioConfig, values, "file.json") == AudioConfig(mel_break_hz=1000)


def test_a_removed_field_may_hold_the_value_that_is_still_what_happens() -> None:
    values = {"units": 2, "norm": "none", "scale": "new"}
    assert fields.from_dict(Later, values, "file.json") == Later(units=2)
    with pytest.raises(errors.InputError, match=r"norm can only be 'none'.*norm='original'"):
        fields.from_dict(Later, {"units": 2, "norm": "original"}, "file.json")


@pytest.mark.parametrize("values", [None, 3, "text", [["n_fft", 2048]]])
def test_what_is_no_object_is_refused(values: object) -> None:
    with pytest.raises(errors.InputError, match=r"file\.json must be a JSON object"):
        fields.from_dict(AudioConfig, values, "file.json")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (AudioConfig, "n_fft", "2048", "int"),
        (AudioConfig, "n_fft", 2048.0, "int"),
        (AudioConfig, "n_fft", True, "int"),
        (AudioConfig, "n_fft", None, "int"),
        (AudioConfig, "log_floor", "tiny", "float"),
        (AudioConfig, "log_floor", True, "float"),
        (AudioConfig, "fmax_hz", "high", "float or null"),
        (SegmentConfig, "dtype", 16, "str"),
        (MonitorConfig, "best_weights", 1, "bool"),
    ],
)
def test_a_wrong_type_is_refused(kind: type, name: str, value: object, expected: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        fields.from_dict(kind, changed(kind, **{name: value}), "file.json")
    assert str(caught.value) == f"file.json: {name} must be {expected}. Received: {value!r}"


def test_a_value_out_of_range_in_a_file_is_refused() -> None:
    with pytest.raises(errors.InputError, match="n_fft must be even"):
        fields.from_dict(AudioConfig, changed(AudioConfig, n_fft=33), "file.json")


def test_a_whole_number_is_taken_where_a_float_is_meant() -> None:
    values = changed(AudioConfig, fmin_hz=30)
    fmin_hz = fields.from_dict(AudioConfig, values, "file.json").fmin_hz
    assert fmin_hz == 30.0
    assert isinstance(fmin_hz, float)


def test_json_text_does_not_depend_on_order() -> None:
    assert fields.to_json({"b": 1, "a": [2]}) == fields.to_json({"a": [2], "b": 1})
    assert fields.to_json({"a": 1}) == '{\n  "a": 1\n}\n'


def test_json_refuses_what_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        fields.to_json({"loss": float("nan")})
