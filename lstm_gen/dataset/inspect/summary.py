"""What a dataset holds and what was left out, as a table for people."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from lstm_gen.audio import file_status
from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.platform import errors

_NAMES_SHOWN = 3


def describe(dataset: manifest.Dataset, lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the summary of a dataset.

    Args:
      dataset: What `dataset.json` says.
      lines: What `manifest.jsonl` says.
    """
    by_verdict: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_verdict[line["verdict"]].append(line)
    read = by_verdict.pop("ok", [])
    hours = sum(line["seconds"] for line in read) / 3600
    rows = [f"read      {len(read)} recordings, {hours:.2f} hours of audio"]
    rows += _trimmed(dataset, read)
    rows += _filled(read)
    known = [labels.read_line(line) for line in read]
    rows += [f"label     {text}" for text in labels.describe(dataset.labels, known)]
    rows += _unused(dataset)
    rows += ["", *_split_table(dataset)]
    if not dataset.splits["validation"].n_records and dataset.split.validation_fraction > 0:
        rows.append("warning   the validation split is empty: no usable recording was held out")
    if by_verdict:
        rows += ["", *(_left_out(verdict, by_verdict[verdict]) for verdict in sorted(by_verdict))]
    return "\n".join(rows)


def judge(lines: Iterable[Mapping[str, Any]], max_bad_fraction: float) -> str:
    """Return one line that says how many recordings are bad.

    Files that are no recordings, and duplicates, count neither as good nor as bad.

    Args:
      lines: What `manifest.jsonl` says.
      max_bad_fraction: Largest share of bad recordings to accept, 0 to 1.

    Raises:
      InputError: If more are bad.
    """
    counts = Counter(line["verdict"] for line in lines)
    n_bad = sum(n for verdict, n in counts.items() if verdict not in file_status.NOT_BAD)
    fraction = n_bad / max(1, n_bad + counts["ok"])
    if fraction > max_bad_fraction:
        raise errors.InputError(
            f"too many recordings were left out, {n_bad} of {n_bad + counts['ok']} (the dataset "
            "holds the others, and manifest.jsonl says why); mend them, or accept them with "
            f"--max_bad_fraction. Received: max_bad_fraction={max_bad_fraction}"
        )
    return (
        f"bad       {n_bad} of {n_bad + counts['ok']} recordings, {fraction:.1%} "
        f"(--max_bad_fraction={max_bad_fraction})"
    )


def show(name: str) -> str:
    """Return a file's name as it can be printed: controls and broken letters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def name_recordings(lines: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Return the names of the recordings that have segments, as they can be printed, by id.

    Args:
      lines: What `manifest.jsonl` says.
    """
    return {
        records.recording_id(line["sha256"]): show(line["name"])
        for line in lines
        if line.get("segments")
    }


def _left_out(verdict: str, lines: list[Mapping[str, Any]]) -> str:
    """Return one line for the files left out for one reason."""
    names = ", ".join(show(line["name"]) for line in lines[:_NAMES_SHOWN])
    more = ", ..." if len(lines) > _NAMES_SHOWN else ""
    return f"left out  {len(lines)} {verdict}: {names}{more}"


def _trimmed(dataset: manifest.Dataset, read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line that accounts for frames in no split."""
    found = sum(line["frames"] for line in read)
    kept = sum(sum(line["frames_kept"].values()) for line in read)
    seconds = (found - kept) / dataset.audio.frames_per_second
    return [f"trimmed   {seconds:.1f} seconds (lead-in, fade-out, silence, guards)"] if read else []


def _unused(dataset: manifest.Dataset) -> list[str]:
    """Return the line about rows of labels that are of no recording."""
    total, first = dataset.unused_rows
    if not total:
        return []
    names = ", ".join(first) + (", ..." if total > len(first) else "")
    return [f"warning   {total} rows of labels are of no recording: {names}"]


def _filled(read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line that accounts for recordings that are no whole number of examples."""
    padded = [line["seconds_padded"] for line in read if line["seconds_padded"]]
    left_over = sum(line["seconds_left_over"] for line in read)
    if not padded and not left_over:
        return []
    return [
        f"examples  {sum(padded):.1f} seconds of silence fill up {len(padded)} recordings, "
        f"{left_over:.1f} seconds of rests are in none"
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
