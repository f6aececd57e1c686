"""Run: the settings of a trained model, and the directory that holds them and its weights.

config.json           family, its settings, window, training; the dataset's audio settings and
                      statistics
fitted.safetensors    arrays of the dataset's analysis, if it has any
checkpoints/          states to resume from
model/                weights for generation
logs/                 TensorBoard
samples/              pictures and sounds written while training
"""

import concurrent.futures
import dataclasses
import json
import pathlib
from typing import Any

import keras

from lstm_gen import models
from lstm_gen.audio import fitted, normalisation
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import AugmentationConfig, TrainingConfig, WindowConfig
from lstm_gen.dataset.format import labels
from lstm_gen.models import base
from lstm_gen.platform import errors, safetensors, storage
from lstm_gen.runs import checkpoints, lease

SCHEMA_VERSION = 4
CONFIG_FILE = "config.json"
SAMPLING = "sampling"
"""Name of the calibrated settings of songs among the facts stored with the weights."""

_MAX_CONFIG_BYTES = 4 << 20
_STATES = ("checkpoints", "model")
_MADE = (
    *_STATES,
    "logs",
    "samples",
    fitted.FILE,
    CONFIG_FILE,
)  # in the order in which `clear` deletes them
_MAY_CHANGE = ("training.steps", "dataset.data_dir")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Settings of a training and of its dataset.

    Attributes:
      settings: Settings of the model family.
      window: Training windows.
      training: Settings of the training.
      audio: Analysis of the dataset, and so the synthesis of songs.
      normalisation: Mean and deviation of the dataset's training split.
      data_dir: Absolute path of the dataset.
      fingerprint: Fingerprint of the dataset.
      augmentation: Augmentation of the training windows.
      vocabulary: Labels of the dataset.
      condition: Names of the conditioning labels, in order.
      directory: The run directory that this was loaded from; "" before it is written.
    """

    settings: Any
    window: WindowConfig
    training: TrainingConfig
    audio: AudioConfig
    normalisation: normalisation.Normalisation
    data_dir: str
    fingerprint: str
    augmentation: AugmentationConfig
    vocabulary: labels.Vocabulary = dataclasses.field(default_factory=dict)
    condition: tuple[str, ...] = ()
    directory: str = dataclasses.field(default="", compare=False)

    def __post_init__(self) -> None:
        family, name = self.family, self.settings.family
        absent = sorted(set(self.condition) - set(self.vocabulary))
        errors.require(
            not self.condition or family.conditional,
            "condition is for models that can be conditioned on labels: "
            + models.names_with(lambda one: one.conditional),
            model=name,
            condition=",".join(self.condition),
        )
        errors.require(
            not absent,
            f"condition must name labels of the dataset: {', '.join(self.vocabulary) or 'none'}",
            condition=",".join(self.condition),
        )
        errors.require(
            self.audio.representation in family.representations,
            f"model {name} takes datasets of representation "
            f"{' or '.join(family.representations)}; make one with create_tfrecord.py",
            representation=self.audio.representation,
        )
        errors.require(
            (self.window.shift > 0) == family.predicts,
            "shift must be 0 for models that predict nothing, and else at least 1",
            model=name,
            shift=self.window.shift,
        )

    @property
    def family(self) -> type[base.AudioModel]:
        """Class of the model."""
        return models.by_name(self.settings.family)

    @property
    def conditioning(self) -> labels.Vocabulary:
        """The conditioning labels of the model."""
        return {name: self.vocabulary[name] for name in self.condition}

    @property
    def spec(self) -> base.FrameSpec:
        """Shape, normalisation and labels of the model's frames."""
        labelled = {
            name: _condition(name, label) for name, label in sorted(self.vocabulary.items())
        }
        return base.FrameSpec(
            audio=self.audio,
            timesteps=self.window.timesteps,
            shift=self.window.shift,
            statistics=self.normalisation,
            conditions=tuple(labelled[name] for name in self.condition),
            classes=tuple(one for one in labelled.values() if one.kind == "class"),
        )

    def build_model(self) -> Any:
        """Return the untrained model, always with the same initial weights."""
        # The seed is set here: the client of buckets draws random numbers with every upload.
        keras.utils.set_random_seed(self.training.seed)
        return self.family.create(self.settings, self.spec)

    def load_model(self) -> Any:
        """Return the trained model.

        Raises:
          InputError: If the run has no weights yet, or they are of another model.
        """
        state = checkpoints.newest(model_dir(self.directory), self.weight_specs())
        if state is None:
            raise errors.InputError(
                "run_dir must hold trained weights; let train_model.py run to its first "
                f"validation. Received: run_dir={self.directory!r}"
            )
        model = self.build_model()
        checkpoints.read(state, checkpoints.variables_of(model=model))
        return model

    def weights(self) -> checkpoints.State | None:
        """Return step and facts of the trained weights, whose file is not read; None without any.

        Raises:
          InputError: If there are some, but damaged.
        """
        if not self.directory:
            return None
        return checkpoints.newest(model_dir(self.directory), hashed=False)

    def facts(self) -> dict[str, Any]:
        """Return the plain values stored with the trained weights; {} before there are any."""
        weights = self.weights()
        return weights.facts if weights else {}

    def sampling(self) -> base.Sampling:
        """Return the sampling settings that were calibrated with the weights, or the defaults."""
        return base.Sampling(**self.facts().get(SAMPLING) or {})

    def weight_specs(self) -> safetensors.Specs:
        """Return names, types and shapes of the weights without allocating any.

        Raises:
          InputError: If a model cannot be built from the settings.
        """

        def build() -> safetensors.Specs:
            with keras.StatelessScope(initialize_variables=False):
                return checkpoints.specs_of(checkpoints.variables_of(model=self.build_model()))

        try:
            # Keras lists what is not initialised and allocates it in a later scope of the thread.
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(build).result()
        except errors.InputError:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise errors.InputError(
                f"a model cannot be built from the settings in {CONFIG_FILE}; restore it or train "
                f"again. Received: {_short(error)}"
            ) from error


def checkpoints_dir(run_dir: str) -> str:
    """Return the directory of the checkpoints."""
    return storage.join(run_dir, "checkpoints")


def model_dir(run_dir: str) -> str:
    """Return the directory of the weights for generation."""
    return storage.join(run_dir, "model")


def logs_dir(run_dir: str) -> str:
    """Return the directory of the TensorBoard logs."""
    return storage.join(run_dir, "logs")


def absolute(path: str) -> str:
    """Return an absolute path; a gs:// path is one."""
    return path if storage.is_remote(path) else str(pathlib.Path(path).resolve())


def open_or_create(run_dir: str, run: Run) -> bool:
    """Create a run directory, or check that an existing one is of the same run.

    Returns:
      Whether it existed.

    Raises:
      InputError: If the directory holds another run (naming the field) or something else.
    """
    path = storage.join(run_dir, CONFIG_FILE)
    if storage.exists(path):
        existing, wanted = as_dict(load(run_dir)), as_dict(run)
        if any(storage.list_names(storage.join(run_dir, name)) for name in _STATES):
            require_same(existing, wanted, run_dir)
        if existing != wanted:  # more steps, the dataset has moved, or nothing was trained yet
            _write(run_dir, run)
        return True
    # A start that was killed may have left the arrays, or a file half written.
    found = {name.partition(".tmp-")[0] for name in storage.list_names(run_dir)}
    if found - {lease.FILE, fitted.FILE, CONFIG_FILE}:
        raise errors.InputError(
            f"run_dir holds files but no {CONFIG_FILE}; choose an empty directory, or start again "
            f"with --fresh if they are of a run. Received: run_dir={run_dir!r}"
        )
    storage.make_directory(run_dir)
    _write(run_dir, run)
    return False


def _write(run_dir: str, run: Run) -> None:
    """Write the settings of a run, after the arrays that they name."""
    if run.audio.fitted:
        fitted.write(storage.join(run_dir, fitted.FILE), run.audio)
    storage.write_text(storage.join(run_dir, CONFIG_FILE), fields.to_json(as_dict(run)))


def require_untrained(run_dir: str) -> None:
    """Refuse to start from step 0 if the run has been trained and its checkpoints are lost.

    Raises:
      InputError: Naming a file or directory that a training has written.
    """
    for name in ("model", "samples", "logs"):
        found = storage.list_names(storage.join(run_dir, name))
        errors.require(
            not found,
            "run_dir holds other results of a training, but no checkpoints; restore those, "
            "choose another --run_dir, or start again with --fresh",
            run_dir=run_dir,
            found=f"{name}/{found[0]}" if found else "",
        )


def clear(run_dir: str) -> list[str]:
    """Delete the results of training in a run directory, and nothing else.

    Returns:
      A line for each thing deleted, with the range of its contents.

    Raises:
      InputError: If a training is running in it.
    """
    if not storage.is_directory(run_dir):
        return []
    lines = []
    with lease.hold(run_dir):
        for name in _MADE:
            path = storage.join(run_dir, name)
            inside: list[str] = []
            if storage.is_link(path):
                storage.remove(path)  # the link; its target may belong to somebody else
            elif storage.is_directory(path):
                inside = storage.list_names(path)
                storage.remove_tree(path)
            elif storage.exists(path):
                storage.remove(path)
            else:
                continue
            lines.append(f"deleted {path}{_describe_names(inside)}")
    return lines


def load(run_dir: str) -> Run:
    """Return the run of a run directory.

    Raises:
      InputError: If it is not a run directory of this version.
    """
    path = storage.join(run_dir, CONFIG_FILE)
    errors.require(
        storage.exists(path),
        f"run_dir must be a directory that train_model.py has written; it has no {CONFIG_FILE}",
        run_dir=run_dir,
    )
    errors.require(
        storage.is_plain_file(path, _MAX_CONFIG_BYTES),
        f"{CONFIG_FILE} must be a file as train_model.py writes it, not a link",
        path=path,
    )
    try:
        values = json.loads(storage.read_text(path))
        errors.require(
            values["schema_version"] == SCHEMA_VERSION,
            f"{path} must be of schema version {SCHEMA_VERSION}; train again with this version",
            schema_version=values["schema_version"],
        )
        run = _from_dict(values, run_dir, path)
        if run.audio.fitted is None:
            return run
        arrays = storage.join(run_dir, fitted.FILE)
        audio = fitted.read(arrays, run.audio, "restore it or train again")
        return dataclasses.replace(run, audio=audio)
    except errors.InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise errors.InputError(
            f"{path} is damaged; restore it or train again. Received: {_short(error)}"
        ) from error


def save_model(run_dir: str, model: Any, step: int, facts: dict[str, Any]) -> None:
    """Save the weights for generation in the place of earlier ones."""
    parent = model_dir(run_dir)
    state = checkpoints.write(parent, step, checkpoints.variables_of(model=model), facts)
    checkpoints.keep_newest(parent, 1, state)


def add_facts(run_dir: str, facts: dict[str, Any]) -> None:
    """Store plain values with the weights for generation, which stay as they are.

    Args:
      run_dir: Run directory that holds weights.
      facts: JSON values; those of the same name are replaced.
    """
    state = checkpoints.newest(model_dir(run_dir))
    if state is not None:
        checkpoints.amend(state, state.facts | facts)


def as_dict(run: Run) -> dict[str, Any]:
    """Return a run as JSON values: all settings that determine its results, and the dataset."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": run.settings.family,
        "settings": fields.to_dict(run.settings),
        "window": fields.to_dict(run.window),
        "training": fields.to_dict(run.training),
        "augmentation": fields.to_dict(run.augmentation),
        "condition": list(run.condition),
        "dataset": {
            "data_dir": run.data_dir,
            "fingerprint": run.fingerprint,
            "audio": fields.to_dict(run.audio),
            **fitted.to_dict(run.audio),
            **run.normalisation.to_dict(),
            "labels": labels.to_json(run.vocabulary),
        },
    }


def as_current(values: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a run that an earlier version wrote as this version writes it.

    Missing fields have their defaults, and removed ones are left out.

    Args:
      values: The run, as from `as_dict`.
      path: Source of the values, for errors.

    Raises:
      InputError: If a removed field has another value than the one that is still supported.
    """
    return as_dict(_from_dict(values, "", path)) | {"schema_version": values["schema_version"]}


def require_same(existing: dict[str, Any], wanted: dict[str, Any], where: str) -> None:
    """Raise unless two runs are the same, except for the number of steps and the dataset's place.

    Args:
      existing: Run of the directory, or of a checkpoint in it, as from `as_dict`.
      wanted: Run to continue, as from `as_dict`.
      where: Directory, for the error.

    Raises:
      InputError: Naming the first field that differs.
    """
    old_values, new_values = _flat(existing), _flat(wanted)
    for name in sorted(set(old_values) | set(new_values)):
        old, new = old_values.get(name), new_values.get(name)
        if old == new or name in _MAY_CHANGE:
            continue
        if name.startswith("dataset."):
            raise errors.InputError(
                "the dataset of run_dir has changed since; choose another --run_dir, or start "
                f"again with --fresh. Received: run_dir={where!r}, differs in {name}"
            )
        raise errors.InputError(
            "run_dir holds a run with other settings; use the same flags to continue, choose "
            "another --run_dir, or start again with --fresh. "
            f"Received: {name}={new!r}, in run_dir: {old!r}"
        )


def _from_dict(values: dict[str, Any], run_dir: str, path: str) -> Run:
    config_class = models.config_class(values["model"])
    dataset = values["dataset"]
    audio = fields.from_dict(AudioConfig, dataset["audio"], f"{path}: audio")
    audio = dataclasses.replace(audio, fitted=fitted.from_dict(dataset))
    return Run(
        settings=fields.from_dict(config_class, values["settings"], f"{path}: settings"),
        window=fields.from_dict(WindowConfig, values["window"], f"{path}: window"),
        training=fields.from_dict(TrainingConfig, values["training"], f"{path}: training"),
        audio=audio,
        normalisation=normalisation.Normalisation.from_dict(
            dataset, audio.channels, path, "restore it or train again"
        ),
        data_dir=dataset["data_dir"],
        fingerprint=dataset["fingerprint"],
        augmentation=fields.from_dict(
            AugmentationConfig, values["augmentation"], f"{path}: augmentation"
        ),
        vocabulary=labels.from_json(dataset["labels"]),
        condition=tuple(str(name) for name in values["condition"]),
        directory=run_dir,
    )


def _condition(name: str, label: labels.Label) -> base.Condition:
    """Return the conditioning label of a label of the dataset."""
    return base.Condition(
        name=name,
        kind=label.kind,
        n_values=len(label.values),
        values=label.values,
        minimum=label.minimum or 0.0,
        maximum=label.maximum or 0.0,
    )


def _describe_names(names: list[str]) -> str:
    if not names:
        return ""
    return f": {names[0]}" if len(names) == 1 else f": {names[0]} to {names[-1]}, {len(names)}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _short(error: Exception) -> str:
    return " ".join(repr(error).split())[:200]
