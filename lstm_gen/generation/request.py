"""Generation request: the arguments of the model, and checks that it supports them.

An option that would have no effect is refused. Lengths, numbers of songs and temperatures are
not: a preset may hold them for everything that the model is used for.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from lstm_gen import models
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.generation import conditioning
from lstm_gen.models import base
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

_COMPARED_NAMES = 3  # of recordings, by which their folder is recognised


def for_model(
    config: GenerationConfig,
    run: runs.Run,
    song_labels: Sequence[Mapping[str, labels.Value]] | None = None,
) -> base.GenerationRequest:
    """Return the request that is passed to the model.

    Args:
      config: Settings of the user.
      run: Run of the model.
      song_labels: Labels of each song, which then share their noise; None for those of `config`.
    """
    return base.GenerationRequest(
        n_songs=config.n_songs,
        n_frames=max(1, round(config.seconds * run.audio.frames_per_second)),
        seed=config.seed,
        sampling=sampling(config, run),
        prior=config.prior,
        labels=conditioning.encode_songs(run, config)
        if song_labels is None
        else conditioning.encode(run, song_labels),
        share_noise=song_labels is not None or bool(conditioning.between(run, config)),
    )


def sampling(config: GenerationConfig, run: runs.Run) -> base.Sampling:
    """Return the sampling settings: those of the request, else as calibrated, else as learned."""
    requested = {
        field.name: getattr(config, field.name) for field in dataclasses.fields(base.Sampling)
    }
    given = {name: value for name, value in requested.items() if value is not None}
    return dataclasses.replace(run.sampling(), **given)


def require_supported(config: GenerationConfig, run: runs.Run) -> None:
    """Refuse options that the model does not support.

    Raises:
      InputError: Naming the families that support the option.
    """
    for option in _options(config):
        errors.require(
            not option.is_set or option.supported_by(run.family),
            f"--{option.flag} is for models {models.names_with(option.supported_by)}; leave it out",
            model=run.settings.family,
            **{option.flag: option.value},
        )
    errors.require(
        config.prior in ("", *run.settings.priors),
        f"the priors of model {run.settings.family} are: {', '.join(run.settings.priors)}",
        prior=config.prior,
    )
    errors.require(
        config.inversion == "joint" or run.audio.representation == "log_mel",
        "--inversion=griffin_lim is for frames of log_mel; leave it out",
        inversion=config.inversion,
        representation=run.audio.representation,
    )


def require_separate_output(output_dir: str, run: runs.Run, config: GenerationConfig) -> None:
    """Refuse to write songs where the next preparation would take them for training data.

    Raises:
      InputError: If the directory is a run, lies in a dataset, or holds recordings of the request
        or, as far as the dataset is still there, of the training.
    """

    def refuse(place: str) -> NoReturn:
        raise errors.InputError(
            f"output_dir must be a directory for songs, and this is {place}; choose another. "
            f"Received: output_dir={output_dir!r}"
        )

    if storage.exists(storage.join(output_dir, runs.CONFIG_FILE)):
        refuse("a run")
    names = _recording_names(run)
    for folder in (output_dir, *storage.folders(output_dir)):
        if storage.exists(storage.join(folder, manifest.DATASET_FILE)):
            refuse("a dataset" if folder == output_dir else f"in the dataset {folder}")
        if names and all(storage.exists(storage.join(folder, name)) for name in names):
            refuse(f"among the recordings that the model was trained on, {folder}")
    inputs = [config.primer, *config.reconstruct, *config.interpolate]
    folder = next(storage.folders(storage.join(output_dir, "song")))
    if folder in [next(storage.folders(path), "") for path in inputs if path]:
        refuse("the folder of an input recording")


class _Option(NamedTuple):
    """A flag, its value, whether it differs from the default, and the families supporting it."""

    flag: str
    value: Any
    is_set: bool
    supported_by: Callable[[type[base.AudioModel]], bool]


def _options(config: GenerationConfig) -> Iterator[_Option]:
    """Yield the options that not every family supports."""

    def controlled(flag: str, control: str = "") -> _Option:
        value, default = getattr(config, flag), getattr(GenerationConfig, flag)
        shown = ",".join(value) if isinstance(value, tuple) else value
        return _Option(flag, shown, value != default, lambda one: (control or flag) in one.controls)

    yield controlled("primer")
    yield controlled("include_primer", "primer")
    yield controlled("temperature")
    yield controlled("sigma_scale")
    yield controlled("neighbour_weight")
    yield controlled("prior")
    yield controlled("reconstruct")
    yield controlled("interpolate", "reconstruct")
    label = ",".join(config.label)
    yield _Option("label", label, bool(label), lambda one: one.conditional)
    yield _Option("melody", config.melody, bool(config.melody), _generates_notes)
    yield _Option("portable", True, config.portable, lambda one: one.exportable)


def _generates_notes(family: type[base.AudioModel]) -> bool:
    """Whether a family can generate a note of a given pitch without a primer."""
    return family.conditional and "primer" not in family.controls


def _recording_names(run: runs.Run) -> list[str]:
    """Return names of recordings of the dataset, relative to their folder; [] if it is gone."""
    try:
        lines = manifest.load_lines(run.data_dir)
    except (errors.StorageError, OSError, ValueError):  # songs need no dataset
        return []
    return [line["name"] for line in lines if line.get("verdict") == "ok"][:_COMPARED_NAMES]
