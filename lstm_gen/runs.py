"""The run directory: everything that a trained model needs to be rebuilt and heard.

config.json     family, its settings, window, training; the dataset's audio settings and statistics
checkpoints/    states to resume from
model/          the weights that generation uses
logs/           TensorBoard
samples/        rollouts made while training
"""

import dataclasses
import json
import pathlib
from typing import Any

import keras
import numpy as np

from lstm_gen import checkpoints, config, errors, models, storage, training_config
from lstm_gen.audio import normalisation
from lstm_gen.models import family as families

SCHEMA_VERSION = 2
_CONFIG = "config.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What a run directory says of itself.

    Attributes:
      family: Model family.
      settings: The family's own configuration.
      window: Windows the model was trained on.
      training: How it was trained.
      audio: How the dataset's frames were made, and so how they are taken back.
      normalisation: Statistics of the dataset's training split.
      data_dir: The dataset, as a path that works from anywhere on this machine.
      fingerprint: The dataset's fingerprint.
      augmentation: How its windows are varied.
    """

    family: families.Family
    settings: Any
    window: config.WindowConfig
    training: training_config.TrainingConfig
    audio: config.AudioConfig
    normalisation: normalisation.Normalisation
    data_dir: str
    fingerprint: str
    augmentation: training_config.AugmentationConfig

    @property
    def signal(self) -> families.Signal:
        """Shape of what the model reads and writes."""
        return families.Signal(
            channels=self.audio.channels, timesteps=self.window.timesteps, shift=self.window.shift
        )

    def build_model(self) -> Any:
        """Return the untrained model: the same each time, whatever has drawn random numbers before.

        The client of buckets draws some with every upload, and with every fault more.
        """
        keras.utils.set_random_seed(self.training.seed)
        return self.family.build(self.settings, self.signal)


def checkpoints_dir(run_dir: str) -> str:
    """Return where the states to resume from are."""
    return storage.join(run_dir, "checkpoints")


def model_dir(run_dir: str) -> str:
    """Return where the weights for generation are."""
    return storage.join(run_dir, "model")


def logs_dir(run_dir: str) -> str:
    """Return where TensorBoard looks."""
    return storage.join(run_dir, "logs")


def absolute(path: str) -> str:
    """Return a path that means the same from every working directory of this machine."""
    return path if storage.is_remote(path) else str(pathlib.Path(path).resolve())


def open_or_create(run_dir: str, run: Run) -> bool:
    """Make a run directory, or check that the one there is of the same run.

    Returns:
      Whether it was there already.

    Raises:
      InputError: If the directory holds another run (naming the field) or something else.
    """
    path = storage.join(run_dir, _CONFIG)
    if storage.exists(path):
        there, asked = _as_dict(load(run_dir)), _as_dict(run)
        if any(
            storage.list_names(folder) for folder in (checkpoints_dir(run_dir), model_dir(run_dir))
        ):
            _refuse_differences(there, asked, run_dir)
        if there != asked:  # more steps, the dataset has moved, or nothing was trained yet
            storage.write_text(path, config.to_json(asked))
        return True
    if storage.list_names(run_dir):
        raise errors.InputError(
            f"run_dir holds files but no {_CONFIG}; choose an empty directory, or delete it if it "
            f"was yours. Received: run_dir={run_dir!r}"
        )
    storage.make_directory(run_dir)
    storage.write_text(path, config.to_json(_as_dict(run)))
    return False


def load(run_dir: str) -> Run:
    """Return what a run directory says of itself.

    Raises:
      InputError: If it is not a run directory of this version.
    """
    path = storage.join(run_dir, _CONFIG)
    config.require(
        storage.exists(path),
        f"run_dir must be a directory that train_model.py made; no {_CONFIG} in it",
        run_dir=run_dir,
    )
    try:
        values = json.loads(storage.read_text(path))
        config.require(
            values["schema_version"] == SCHEMA_VERSION,
            f"{path} must be of schema version {SCHEMA_VERSION}; train again with this version",
            schema_version=values["schema_version"],
        )
        return _from_dict(values, path)
    except errors.InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise errors.InputError(
            f"{path} is damaged; restore it or train again. Received: {error!r}"
        ) from error


def load_model(run_dir: str, run: Run) -> Any:
    """Return the trained model of a run.

    Raises:
      InputError: If it has no weights yet.
    """
    state = checkpoints.newest(model_dir(run_dir))
    config.require(
        state is not None,
        "run_dir must hold trained weights; let train_model.py run to its first validation",
        run_dir=run_dir,
    )
    model = run.build_model()
    checkpoints.read(state, checkpoints.variables_of(model=model))  # type: ignore[arg-type]
    return model


def save_model(run_dir: str, model: Any, step: int, facts: dict[str, Any]) -> None:
    """Make these the weights that generation uses."""
    parent = model_dir(run_dir)
    state = checkpoints.write(parent, step, checkpoints.variables_of(model=model), facts)
    checkpoints.keep_newest(parent, 1, state)


def _as_dict(run: Run) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "model": run.family.name,
        "settings": config.to_dict(run.settings),
        "window": config.to_dict(run.window),
        "training": config.to_dict(run.training),
        "augmentation": config.to_dict(run.augmentation),
        "dataset": {
            "data_dir": run.data_dir,
            "fingerprint": run.fingerprint,
            "audio": config.to_dict(run.audio),
            "mean": run.normalisation.mean.tolist(),
            "std": run.normalisation.std.tolist(),
        },
    }


def _from_dict(values: dict[str, Any], path: str) -> Run:
    family = models.by_name(values["model"])
    dataset = values["dataset"]
    audio = config.from_dict(config.AudioConfig, dataset["audio"], f"{path}: audio")
    mean, std = (np.asarray(dataset[key], np.float32) for key in ("mean", "std"))
    config.require(
        mean.shape == std.shape == (audio.channels,),
        f"{path} must hold a mean and a std per channel; restore it or train again",
        mean=mean.shape,
        std=std.shape,
    )
    return Run(
        family=family,
        settings=config.from_dict(family.config_class, values["settings"], f"{path}: settings"),
        window=config.from_dict(config.WindowConfig, values["window"], f"{path}: window"),
        training=config.from_dict(
            training_config.TrainingConfig, values["training"], f"{path}: training"
        ),
        audio=audio,
        normalisation=normalisation.Normalisation(mean=mean, std=std),
        data_dir=dataset["data_dir"],
        fingerprint=dataset["fingerprint"],
        augmentation=config.from_dict(
            training_config.AugmentationConfig, values["augmentation"], f"{path}: augmentation"
        ),
    )


def _refuse_differences(there: dict[str, Any], asked: dict[str, Any], run_dir: str) -> None:
    """Raise if the run asked for is another than the one there; more or fewer steps are fine."""
    there_flat, asked_flat = _flat(there), _flat(asked)
    for name in sorted(set(there_flat) | set(asked_flat)):
        old, new = there_flat.get(name), asked_flat.get(name)
        if old == new or name in ("training.steps", "dataset.data_dir"):
            continue
        if name.startswith("dataset."):
            raise errors.InputError(
                "the dataset of run_dir has changed since; choose another --run_dir. "
                f"Received: run_dir={run_dir!r}, differs in {name}"
            )
        raise errors.InputError(
            "run_dir holds a run with other settings; use the same flags to go on, or choose "
            f"another --run_dir. Received: {name}={new!r}, there: {old!r}"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
