"""Tables of an evaluation in Markdown, and acceptance criteria: ranges in which figures pass."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

UNUSABLE = "unusable here"
"""In place of a range that real music is not in."""


class Criterion(NamedTuple):
    """The range in which a figure passes, both ends included.

    Attributes:
      name: Of the figure, an attribute of a report.
      low: Least value; 0 or minus infinity where only large values fail.
      high: Largest value, or infinity.
      explanation: The figure in words, with its unit.
    """

    name: str
    low: float
    high: float
    explanation: str

    def passes(self, value: float) -> bool:
        """Return whether a value is in the range; NaN is not."""
        return self.low <= value <= self.high

    @property
    def range(self) -> str:
        """The range as a table shows it."""
        if self.low == self.high:
            return f"{self.low:g}"
        if self.high == math.inf:
            return f"≥ {self.low:g}"
        return (
            f"≤ {self.high:.3g}"
            if self.low in (0, -math.inf)
            else f"{self.low:.3g} to {self.high:.3g}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text cells.

    Attributes:
      columns: Headings.
      rows: Cells of each row, as many as there are columns.
      text_columns: Leading columns that hold text, aligned left; all others are aligned right.
      title: Heading above the table.
      notes: Paragraphs below it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    title: str = ""
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the table in Markdown, ending in a newline."""
        n_numbers = len(self.columns) - self.text_columns
        lines = ["---"] * self.text_columns + ["---:"] * n_numbers
        grid = [f"| {' | '.join(row)} |" for row in (self.columns, lines, *self.rows)]
        parts = [f"### {self.title}"] if self.title else []
        return (
            "\n\n".join([*parts, *(["\n".join(grid)] if self.columns else []), *self.notes]) + "\n"
        )


def failed(criteria: Sequence[Criterion], report: object) -> set[str]:
    """Return the names of the criteria that a report fails."""
    return {one.name for one in criteria if not one.passes(float(getattr(report, one.name)))}


def acceptance(
    criteria: Sequence[Criterion], reports: Mapping[str, object], unusable: Collection[str] = ()
) -> Table:
    """Return a table of figures beside the ranges that pass; values that fail are bold.

    Args:
      criteria: A row each.
      reports: A column each, by its heading: objects with an attribute for each criterion's name.
      unusable: Names of the criteria that say nothing of these data, as real music fails them too.
    """
    rows = []
    for criterion in criteria:
        values = [float(getattr(report, criterion.name)) for report in reports.values()]
        usable = criterion.name not in unusable
        cells = [
            f"**{x:.2f}**" if usable and not criterion.passes(x) else f"{x:.2f}" for x in values
        ]
        rows.append([criterion.explanation, criterion.range if usable else UNUSABLE, *cells])
    return Table(columns=["figure", "accept", *reports], rows=rows, text_columns=2)
