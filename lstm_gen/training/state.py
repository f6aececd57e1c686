"""Training state: model, optimizers, averaged weights and progress, saved and restored."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.platform import devices, failpoints
from lstm_gen.runs import checkpoints, lease
from lstm_gen.runs import run as runs
from lstm_gen.training import nan_guard
from lstm_gen.training import step as steps


@dataclasses.dataclass
class Progress:
    """Progress of a training.

    Attributes:
      step: Optimizer steps done.
      best_loss: Lowest validation loss so far.
      best_step: Step of that validation.
      stale: Number of validations since then.
      validated_step: Step of the last validation.
    """

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    stale: int = 0
    validated_step: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the values for JSON, which has no infinity."""
        values = dataclasses.asdict(self)
        return values | {"best_loss": None if math.isinf(self.best_loss) else self.best_loss}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Progress":
        """Return the progress that `facts` returned as JSON values."""
        best = facts["best_loss"]
        return cls(**facts | {"best_loss": math.inf if best is None else best})


class State:
    """Model, optimizers with averaged weights, and progress.

    Attributes:
      model: The model.
      objectives: Objectives of a step.
      optimizers: Optimizer of each objective.
      progress: Progress of the training.

    Args:
      run_dir: Directory to write.
      run: The run.
      dataset: Its dataset.
      strategy: Devices of the model.
      owner: Lease of the run directory.
      resume_dir: Directory to read checkpoints from, if it is not `run_dir`.
    """

    def __init__(
        self,
        run_dir: str,
        run: runs.Run,
        dataset: manifest.Dataset,
        strategy: tf.distribute.Strategy,
        owner: lease.Lease,
        resume_dir: str = "",
    ) -> None:
        self._run_dir, self._run, self._owner = run_dir, run, owner
        self._parent = runs.checkpoints_dir(run_dir)
        self._resume_dir = resume_dir or run_dir
        self._windows = pipeline.windows_per_epoch(dataset, "train", run.window)
        self._topology = {
            "strategy": type(strategy).__name__,
            "replicas": strategy.num_replicas_in_sync,
        }
        with strategy.scope(), devices.layer_precision(run.training.precision):
            self.model = run.build_model()
            self.objectives = self.model.objectives()
            self._rate_scale = tf.Variable(1.0, trainable=False, name="rate_scale")
            self.optimizers = steps.make_optimizers(run.training, self.objectives, self._rate_scale)
        self.progress = Progress()
        self._saved: checkpoints.State | None = None

    @property
    def n_parameters(self) -> int:
        """Trainable values of the model."""
        return sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(tf.convert_to_tensor(self.optimizers[0].learning_rate).numpy())

    @property
    def is_saved(self) -> bool:
        """Whether the current step is saved."""
        return self._saved is not None and self._saved.step == self.progress.step

    @property
    def was_slowed(self) -> bool:
        """Whether the learning rate has been lowered after a NaN."""
        return float(self._rate_scale.numpy()) < 1.0

    def restore(self) -> bool:
        """Restore the newest intact checkpoint; return whether there is one.

        Raises:
          InputError: If it is of another run, naming the field, or none is intact.
        """
        parent = runs.checkpoints_dir(self._resume_dir)
        found = checkpoints.newest(parent, checkpoints.specs_of(self._variables()))
        if found is None:
            runs.require_untrained(self._resume_dir)
            return False
        written = runs.as_current(found.facts["run"], found.path)
        runs.require_same(written, runs.as_dict(self._run), found.path)
        if found.facts["topology"] != self._topology:
            logging.warning(
                "step %d was reached on %s and continues on %s: results agree except for rounding",
                *(found.step, found.facts["topology"], self._topology),
            )
        checkpoints.read(found, self._variables())
        self.progress = Progress.from_facts(found.facts["progress"])
        self._saved = found
        return True

    def save(self, keep: int) -> None:
        """Write a checkpoint, and delete all but the newest `keep`.

        Raises:
          NonFiniteError: If a variable is NaN or infinite; nothing is written then.
          StorageError: If another process has taken over the run directory.
        """
        variables = self._variables()
        nan_guard.require_finite_variables(variables, self.progress.step)
        self._owner.confirm()
        self._saved = checkpoints.write(self._parent, self.progress.step, variables, self._facts())
        checkpoints.keep_newest(self._parent, keep, self._saved)

    def slow_down(self, factor: float) -> None:
        """Lower the learning rate for the rest of the run."""
        self._rate_scale.assign(factor)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Any]:
        """Yield the model, with averaged weights if the run averages them."""
        if not self._run.training.ema:
            yield self.model
            return
        variables = [v for objective in self.objectives for v in objective.variables]
        trained = [variable.numpy() for variable in variables]
        for optimizer, objective in zip(self.optimizers, self.objectives, strict=True):
            if self.progress.step:
                optimizer.finalize_variable_values(objective.variables)
        try:
            yield self.model
        finally:
            for variable, value in zip(variables, trained, strict=True):
                variable.assign(value)

    def save_model(self, facts: dict[str, Any]) -> None:
        """Save the weights, averaged if the run averages them, for generation."""
        self._owner.confirm()
        with self.averaged() as model:
            runs.save_model(self._run_dir, model, self.progress.step, facts)
        failpoints.reach("model.saved")

    def _variables(self) -> checkpoints.Variables:
        optimizers = {f"optimizer_{i}": o for i, o in enumerate(self.optimizers)}
        named = checkpoints.variables_of(model=self.model, **optimizers)
        return {**named, "rate_scale": self._rate_scale}

    def _facts(self) -> dict[str, Any]:
        """Return the plain values that are saved with the variables."""
        windows = self.progress.step * self._run.training.batch_size
        position = {
            "seed": self._run.training.seed,
            "epoch": windows // self._windows,
            "step": self.progress.step,
        }
        return {
            "progress": self.progress.facts(),
            "input": position,
            "topology": self._topology,
            "run": runs.as_dict(self._run),
        }
