"""Acceptance ranges, and tables in Markdown."""

import math
from typing import NamedTuple

import pytest

from lstm_gen.evaluation import table
from lstm_gen.evaluation.table import Criterion


class Report(NamedTuple):
    level: float


@pytest.mark.parametrize(
    ("low", "high", "text", "inside", "outside"),
    [
        (0, 1.5, "≤ 1.5", 0, 1.51),
        (-math.inf, 0.1, "≤ 0.1", -5, 0.2),
        (0.8, math.inf, "≥ 0.8", 0.8, 0.7),
        (-1, 1, "-1 to 1", -1, 1.1),
        (0, 0, "0", 0, 1e-9),
    ],
)
def test_ranges(low: float, high: float, text: str, inside: float, outside: float) -> None:
    criterion = Criterion("level", low, high, "level, dB")
    assert criterion.range == text
    assert criterion.passes(inside)
    assert not criterion.passes(outside)
    assert not criterion.passes(math.nan)


def test_values_out_of_range_are_bold() -> None:
    criteria = [Criterion("level", -3, 3, "level, dB")]
    found = table.acceptance(
        criteria, {"good": Report(1), "bad": Report(-4), "none": Report(math.nan)}
    )
    assert found.markdown().splitlines() == [
        "| figure | accept | good | bad | none |",
        "| --- | --- | ---: | ---: | ---: |",
        "| level, dB | -3 to 3 | 1.00 | **-4.00** | **nan** |",
    ]


def test_title_and_notes_stand_around_the_rows() -> None:
    found = table.Table(columns=["run", "n"], rows=[["a", "1"]], title="Runs", notes=["Note."])
    assert found.markdown() == "### Runs\n\n| run | n |\n| --- | ---: |\n| a | 1 |\n\nNote.\n"
    assert table.Table(columns=(), rows=(), notes=["One.", "Two."]).markdown() == "One.\n\nTwo.\n"
