"""Benchmark suite: every figure of docs/results.md beside its baseline, as one table.

    python -m benchmarks.run --only=inversion,rollout

Each benchmark runs in a fresh process, without the threads, memory and compiled functions of
others. Nothing else should run on the machine meanwhile.
"""

import dataclasses
import datetime
import importlib
import importlib.metadata
import os
import pathlib
import platform
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from benchmarks import harness
from lstm_gen.cli import command, settings
from lstm_gen.config import fields
from lstm_gen.platform import storage

BENCHMARKS = (
    "lstm_step",
    "inversion",
    "representations",
    "dataset",
    "scale",
    "rollout",
    "replicas",
    "training",
    "families",
    "stopping",
)
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "numba", "librosa", "torch")
_HEADINGS = ("benchmark", "baseline", "measured", "target", "reached", "detail")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(fields.Settings):
    """Benchmarks."""

    only: tuple[str, ...] = fields.setting(
        BENCHMARKS, "Benchmarks to run, separated by commas.", choices=BENCHMARKS
    )
    results_dir: str = fields.setting(
        "benchmarks/results", "Folder for one JSON file per benchmark."
    )


def main(line: settings.CommandLine) -> int:
    """Run the benchmarks in sequence; return 1 if one fails."""
    config = line.build(BenchmarkConfig)
    facts = describe_machine()
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    rows: list[harness.Row] = []
    failed = []
    for name in config.only:
        print(f"Measuring {name}.", flush=True)
        try:
            measured = harness.measure_in_process(measure, name)
        except Exception:  # one failing benchmark never stops the others
            traceback.print_exc()
            failed.append(f"{name} failed; the reason is above")
            continue
        path = storage.join(config.results_dir, f"{name}.json")
        storage.write_text(path, fields.to_json(describe(measured, facts)))
        rows += measured
    print("\n".join(["", *format_table(rows), *failed]))
    return 1 if failed else 0


def measure(name: str) -> list[harness.Row]:
    """Return the rows of one benchmark, measured in this process."""
    return list(importlib.import_module(f"benchmarks.{name}").rows())


def describe_machine() -> dict[str, Any]:
    """Return the environment of the measurement: processor, cores, versions, date."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": _read_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return facts


def _read_processor() -> str:
    """Return the processor's model name."""
    path = pathlib.Path("/proc/cpuinfo")
    text = path.read_text("utf-8") if path.exists() else ""
    match = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.processor() or platform.machine()


def describe(rows: Iterable[harness.Row], facts: dict[str, Any]) -> dict[str, Any]:
    """Return rows and machine as JSON values."""
    listed = [{**dataclasses.asdict(row), "reached": row.reached} for row in rows]
    return {"machine": facts, "rows": listed}


def format_table(rows: Sequence[harness.Row]) -> list[str]:
    """Return the lines of an aligned table with headings."""
    cells = [_HEADINGS, *(_format_row(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _format_row(row: harness.Row) -> tuple[str, ...]:
    """Return the cells of a row."""
    target = f"{'>=' if row.at_least else '<='} {row.target:.3g} {row.unit}"
    reached = "yes" if row.reached else "no"
    return row.what, row.baseline, f"{row.value:.3g} {row.unit}", target, reached, row.detail


def run() -> NoReturn:
    """Run the command."""
    command.run(main, (BenchmarkConfig,))


if __name__ == "__main__":
    run()
