"""A run directory made empty again: what training has made is deleted, and nothing else."""

from lstm_gen.platform import storage
from lstm_gen.runs import lease, run

_MADE = ("checkpoints", "model", "logs", "samples", run.CONFIG_FILE)  # the last named last


def clear(run_dir: str) -> list[str]:
    """Delete what training has made in a run directory, and nothing else.

    Returns:
      A line for each thing deleted, saying what was lost with it.

    Raises:
      InputError: If a training is at work in it.
    """
    if not storage.is_directory(run_dir):
        return []
    with lease.hold(run_dir):
        return _clear(run_dir)


def _clear(run_dir: str) -> list[str]:
    lines = []
    for name in _MADE:
        path = storage.join(run_dir, name)
        inside = []
        if storage.is_link(path):
            storage.remove(path)  # the link; what it leads to may be somebody else's
        elif storage.is_directory(path):
            inside = storage.list_names(path)
            storage.remove_tree(path)
        elif storage.exists(path):
            storage.remove(path)
        else:
            continue
        lines.append(f"deleted {path}{_some(inside)}")
    return lines


def _some(names: list[str]) -> str:
    """Return what a directory held, in a few words."""
    if not names:
        return ""
    return f": {names[0]}" if len(names) == 1 else f": {names[0]} to {names[-1]}, {len(names)}"
