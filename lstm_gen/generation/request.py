"""What is asked for, held against what a trained model can honour and where songs may go.

A wish that would have no effect is refused and not passed over; but for lengths, numbers of songs
and temperatures, which the flag file of a preset may hold for all that the model is used for.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from lstm_gen import models
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.models import base
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

_NAMES_LOOKED_FOR = 3  # of recordings, by which their folder is known


class _Wish(NamedTuple):
    """A flag, what it was set to, whether that asks for anything, and which families can do it."""

    flag: str
    value: Any
    is_made: bool
    can: Callable[[type[base.AudioModel]], bool]


def require_honoured(songs: GenerationConfig, run: runs.Run) -> None:
    """Refuse what a model knows nothing of.

    Raises:
      InputError: Naming the families that do.
    """
    for wish in _wishes(songs):
        able = models.names_with(wish.can)
        errors.require(
            not wish.is_made or wish.can(run.family),
            f"--{wish.flag} is for models {able}; leave it out",
            model=run.settings.family,
            **{wish.flag: wish.value},
        )
    errors.require(
        songs.prior in ("", *run.settings.priors),
        f"the priors of model {run.settings.family} are: {', '.join(run.settings.priors)}",
        prior=songs.prior,
    )
    errors.require(
        songs.inversion == "joint" or run.audio.representation == "log_mel",
        "--inversion=griffin_lim is for frames of log_mel; leave it out",
        inversion=songs.inversion,
        representation=run.audio.representation,
    )


def _wishes(songs: GenerationConfig) -> Iterator[_Wish]:
    """Yield what is asked for beside the number, length and seed of songs."""

    def controlled(flag: str, control: str = "") -> _Wish:
        value, unset = getattr(songs, flag), getattr(GenerationConfig, flag)
        shown = ",".join(value) if isinstance(value, tuple) else value
        return _Wish(flag, shown, value != unset, lambda one: (control or flag) in one.controls)

    yield controlled("primer")
    yield controlled("include_primer", "primer")
    yield controlled("temperature")
    yield controlled("sigma_scale")
    yield controlled("prior")
    yield controlled("reconstruct")
    yield controlled("interpolate", "reconstruct")
    label = ",".join(songs.label)
    yield _Wish("label", label, bool(label), lambda one: one.conditional)
    yield _Wish("melody", songs.melody, bool(songs.melody), _plays_notes)
    yield _Wish("portable", True, songs.portable, lambda one: one.exportable)


def _plays_notes(family: type[base.AudioModel]) -> bool:
    """Say whether a family can make notes of a pitch, of nothing."""
    return family.conditional and "primer" not in family.controls


def require_apart(output_dir: str, run: runs.Run, songs: GenerationConfig) -> None:
    """Refuse to put songs among what they were learnt from, where they would be learnt from next.

    Raises:
      InputError: If the directory is a run, in a dataset, or among recordings that are given, or
        that the model was trained on as far as they are known.
    """

    def refuse(what: str) -> NoReturn:
        raise errors.InputError(
            f"output_dir must be a place of its own, and this is {what}; name another. "
            f"Received: output_dir={output_dir!r}"
        )

    if storage.exists(storage.join(output_dir, runs.CONFIG_FILE)):
        refuse("a run")
    names = _recordings(run)
    for folder in (output_dir, *storage.folders(output_dir)):
        if storage.exists(storage.join(folder, manifest.DATASET_FILE)):
            refuse("a dataset" if folder == output_dir else f"in the dataset {folder}")
        if names and all(storage.exists(storage.join(folder, name)) for name in names):
            refuse(f"among the recordings that the model was trained on, {folder}")
    given = [songs.primer, *songs.reconstruct, *songs.interpolate]
    place = next(storage.folders(storage.join(output_dir, "song")))
    if place in [next(storage.folders(path), "") for path in given if path]:
        refuse("the folder of a recording that goes in")


def _recordings(run: runs.Run) -> list[str]:
    """Return names of recordings of the dataset, from their folder on; none if it is gone."""
    try:
        lines = manifest.load_lines(run.data_dir)
    except (errors.StorageError, OSError, ValueError):  # songs need no dataset
        return []
    return [line["name"] for line in lines if line.get("verdict") == "ok"][:_NAMES_LOOKED_FOR]
