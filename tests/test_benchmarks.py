import json
import pathlib

import pytest

from benchmarks import harness
from benchmarks import run as benchmarks_run

FAST = harness.Row(
    what="step", baseline="Keras", value=2.61, unit="x", target=2.5, detail="51 ms beside 133 ms"
)
LARGE = harness.Row(
    what="bytes", baseline="frames", value=1.2, unit="x", target=1.05, at_least=False
)


def test_candidates_interleave() -> None:
    calls: list[str] = []
    times = harness.interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2
    )
    assert calls == ["a", "b"] * 5
    assert {name: len(one) for name, one in times.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_the_median_of_pairs() -> None:
    assert harness.ratio([2.0, 9.0, 40.0], [1.0, 3.0, 10.0]) == 3.0
    with pytest.raises(ValueError, match="shorter"):
        harness.ratio([1.0, 2.0], [1.0])


def test_a_row_knows_whether_it_reached_its_figure() -> None:
    assert FAST.reached
    assert not LARGE.reached


def test_the_table_is_aligned() -> None:
    headings, *rows = benchmarks_run.format_table([FAST, LARGE])
    assert [row[headings.index("baseline") :].split()[0] for row in rows] == ["Keras", "frames"]
    assert [row[headings.index("reached") :].split()[0] for row in rows] == ["yes", "no"]


def test_results_are_json_with_the_machine() -> None:
    values = benchmarks_run.describe([FAST], benchmarks_run.describe_machine())
    assert json.loads(json.dumps(values)) == values
    assert {"date", "processor", "cores", "python", "tensorflow"} <= set(values["machine"])
    assert values["rows"][0]["reached"] is True


def test_every_benchmark_is_listed() -> None:
    folder = pathlib.Path(benchmarks_run.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "def rows(" in path.read_text("utf-8")}
    assert found == set(benchmarks_run.BENCHMARKS)
