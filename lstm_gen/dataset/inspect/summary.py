"""Summary of a dataset: its splits, labels and the files left out, as text."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lstm_gen.dataset.format import labels, manifest
from lstm_gen.platform import errors

_NAMES_SHOWN = 3


def describe(dataset: manifest.Dataset, lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the summary of a dataset.

    Args:
      dataset: Contents of `dataset.json`.
      lines: Of `manifest.jsonl`.
    """
    by_status: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_status[line["verdict"]].append(line)
    read = by_status.pop("ok", [])
    hours = sum(line["seconds"] for line in read) / 3600
    rows = [f"read      {len(read)} recordings, {hours:.2f} hours of audio"]
    rows += _trimmed(dataset, read)
    rows += _padding(read)
    values = [labels.read_line(line) for line in read]
    rows += [f"label     {text}" for text in labels.describe(dataset.labels, values)]
    rows += _unused(dataset)
    rows += ["", *_split_table(dataset)]
    if not dataset.splits["validation"].n_records and dataset.split.validation_fraction > 0:
        rows.append("warning   the validation split is empty: no usable recording was held out")
    if by_status:
        rows += ["", *(_left_out(status, by_status[status]) for status in sorted(by_status))]
    return "\n".join(rows)


def check_bad_fraction(lines: Iterable[Mapping[str, Any]], max_bad_fraction: float) -> str:
    """Return one line with the number and fraction of bad recordings.

    Duplicates and files without an audio suffix count neither as good nor as bad.

    Args:
      lines: Of `manifest.jsonl`.
      max_bad_fraction: Largest fraction to accept, 0 to 1.

    Raises:
      InputError: If more are bad.
    """
    counts = Counter(line["verdict"] for line in lines)
    n_bad = sum(n for status, n in counts.items() if status not in manifest.NOT_BAD)
    fraction = n_bad / max(1, n_bad + counts["ok"])
    if fraction > max_bad_fraction:
        raise errors.InputError(
            f"too many recordings were left out, {n_bad} of {n_bad + counts['ok']} (the dataset "
            "holds the others, manifest.jsonl the reasons); repair them, or accept them with "
            f"--max_bad_fraction. Received: max_bad_fraction={max_bad_fraction}"
        )
    return (
        f"bad       {n_bad} of {n_bad + counts['ok']} recordings, {fraction:.1%} "
        f"(--max_bad_fraction={max_bad_fraction})"
    )


def _left_out(status: str, lines: list[Mapping[str, Any]]) -> str:
    """Return one line for the files left out for one reason."""
    names = ", ".join(manifest.printable(line["name"]) for line in lines[:_NAMES_SHOWN])
    more = ", ..." if len(lines) > _NAMES_SHOWN else ""
    return f"left out  {len(lines)} {status}: {names}{more}"


def _trimmed(dataset: manifest.Dataset, read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line about frames in no split."""
    found = sum(line["frames"] for line in read)
    kept = sum(sum(line["frames_kept"].values()) for line in read)
    seconds = (found - kept) / dataset.audio.frames_per_second
    return [f"trimmed   {seconds:.1f} seconds (lead-in, fade-out, silence, guards)"] if read else []


def _unused(dataset: manifest.Dataset) -> list[str]:
    """Return the line about label rows that match no recording."""
    total, first = dataset.unused_rows
    if not total:
        return []
    names = ", ".join(first) + (", ..." if total > len(first) else "")
    return [f"warning   {total} label rows match no recording: {names}"]


def _padding(read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line about padding and rests of recordings cut into examples."""
    padded = [line["seconds_padded"] for line in read if line["seconds_padded"]]
    left_over = sum(line["seconds_left_over"] for line in read)
    if not padded and not left_over:
        return []
    return [
        f"examples  {sum(padded):.1f} seconds of silence pad {len(padded)} recordings, "
        f"{left_over:.1f} seconds are left over"
    ]


def _split_table(dataset: manifest.Dataset) -> list[str]:
    """Return the table of the splits."""
    rows = [
        f"{'':10}{'recordings':>12}{'segments':>10}{'frames':>12}{'hours':>8}{'MB':>9}{'shards':>8}"
    ]
    for name in manifest.SPLITS:
        split = dataset.splits[name]
        if split.shards:
            rows.append(
                f"{name:10}{split.recordings:12,}{split.n_records:10,}{split.n_frames:12,}"
                f"{split.seconds / 3600:8.2f}{split.n_bytes / 1e6:9.1f}{len(split.shards):8}"
            )
    return rows
