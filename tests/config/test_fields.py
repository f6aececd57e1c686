"""Declarations of settings: ranges in words and in numbers, copies, and fields of the past."""

import dataclasses
import math
from typing import Any, ClassVar

import pytest

from lstm_gen.config import fields
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterConfig(fields.Settings):
    """A filter."""

    removed: ClassVar[dict[str, Any]] = {"norm": "none"}

    cutoff_hz: float = fields.setting(20.0, "Cutoff.", unit="Hz", above=0, below=100)
    kind: str = fields.setting("low", "Kind.", choices=("low", "high"), flag="filter_kind")
    taps: int | None = fields.setting(None, "Taps.", at_least=1)

    def unused(self) -> frozenset[str]:
        return frozenset({"taps"} if self.kind == "high" else ())

    def check(self) -> None:
        errors.require(self.taps != 13, "taps must not be 13", taps=self.taps)


@pytest.mark.parametrize(
    ("bounds", "words", "inside", "outside"),
    [
        ({}, "", [-1e9, 0, 3], [math.inf, math.nan]),
        ({"at_least": 1}, "at least 1", [1, 2], [0, math.inf]),
        ({"at_least": 0, "zero": "off", "unit": "dB"}, "at least 0 dB (0: off)", [0, 1], [-0.1]),
        ({"above": 0, "unit": "s"}, "above 0 s", [1e-9], [0, math.nan]),
        ({"above": 0, "at_most": 2}, "above 0 and at most 2", [1, 2], [0, 2.1]),
        ({"at_least": 0, "below": 1, "zero": "off"}, "from 0 to below 1 (0: off)", [0, 0.9], [1]),
        ({"at_least": 0, "at_most": 2147483647}, "from 0 to 2147483647", [2147483647], [1 << 31]),
        ({"at_most": 5, "unit": "Hz"}, "at most 5 Hz", [-1, 5], [5.5]),
    ],
)
def test_a_range_in_words_and_in_numbers(
    bounds: dict[str, Any], words: str, inside: list[float], outside: list[float]
) -> None:
    setting = fields.Setting(help="A number.", **bounds)
    assert setting.range == words
    assert all(map(setting.contains, inside))
    assert not any(map(setting.contains, outside))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cutoff_hz": 0.0}, "cutoff_hz must be above 0 and below 100 Hz. Received:"),
        ({"kind": "band"}, "filter_kind must be one of low, high. Received: filter_kind='band'"),
        ({"taps": 0}, "taps must be at least 1. Received: taps=0"),
        ({"taps": 13}, "taps must not be 13. Received: taps=13"),
    ],
)
def test_a_value_is_refused_by_the_name_of_its_flag(values: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        FilterConfig(**values)
    assert str(caught.value).startswith(message)


def test_a_field_that_is_not_used_is_not_validated() -> None:
    assert FilterConfig(kind="high", taps=0).taps == 0


def test_a_copied_declaration_may_differ_in_some_properties() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(fields.Settings):
        """Another filter."""

        cutoff_hz: float = fields.like(FilterConfig, "cutoff_hz", default=30.0, unit="kHz")

    copied, original = (fields.settings_of(one)["cutoff_hz"] for one in (Other, FilterConfig))
    assert Other().cutoff_hz == 30.0
    assert copied == dataclasses.replace(original, unit="kHz")
    precisions = [
        fields.settings_of(one)["precision"] for one in (TrainingConfig, GenerationConfig)
    ]
    assert precisions[0] == precisions[1]


def test_a_removed_field_is_accepted_with_the_value_that_is_left() -> None:
    values = {"cutoff_hz": 5.0, "kind": "high", "taps": None}
    expected = FilterConfig(cutoff_hz=5.0, kind="high")
    assert fields.from_dict(FilterConfig, {**values, "norm": "none"}, "file") == expected
    with pytest.raises(errors.InputError, match=r"file: norm can only be 'none'.*norm='batch'"):
        fields.from_dict(FilterConfig, {**values, "norm": "batch"}, "file")
