"""All that a training is at a moment, and how it is kept: what a resumed run goes on from."""

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
    """Where a run is.

    Attributes:
      step: Optimizer steps done.
      best_loss: Lowest validation loss so far.
      best_step: The step it was reached at.
      stale: Validations since then.
      validated_step: The step of the last validation.
    """

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    stale: int = 0
    validated_step: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the values as JSON has them (which knows no infinity)."""
        values = dataclasses.asdict(self)
        return values | {"best_loss": None if math.isinf(self.best_loss) else self.best_loss}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Progress":
        """Return the progress that `facts` was made from."""
        best = facts["best_loss"]
        return cls(**facts | {"best_loss": math.inf if best is None else best})


class State:
    """Model, optimizers with their averages, and progress.

    Attributes:
      model: The model.
      objectives: What a step lowers.
      optimizers: One for each.
      progress: Where the run is.

    Args:
      run_dir: Where to write.
      run: What it holds.
      dataset: The dataset that it is trained on.
      strategy: Where the model lives.
      owner: The claim on the run directory.
      resume_dir: Where states are read from, if not there.
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
            self.optimizers = [
                steps.make_optimizer(run.training, self._rate_scale, one.momentum)
                for one in self.objectives
            ]
            for optimizer, objective in zip(self.optimizers, self.objectives, strict=True):
                optimizer.build(objective.variables)
        self.progress = Progress()
        self._saved: checkpoints.State | None = None

    @property
    def n_parameters(self) -> int:
        """Trainable values of the model."""
        return sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(tf.convert_to_tensor(self.optimizers[0].learning_rate).numpy())

    @property
    def is_saved(self) -> bool:
        """Whether there is a checkpoint of just this moment."""
        return self._saved is not None and self._saved.step == self.progress.step

    @property
    def was_slowed(self) -> bool:
        """Whether the learning rate has been lowered already."""
        return float(self._rate_scale.numpy()) < 1.0

    def restore(self) -> bool:
        """Go back to the newest checkpoint that is whole; return whether there is any.

        Raises:
          InputError: If it is of another run, naming the field, or none is whole.
        """
        parent = runs.checkpoints_dir(self._resume_dir)
        found = checkpoints.newest(parent, checkpoints.specs_of(self._variables()))
        if found is None:
            runs.require_untrained(self._resume_dir)
            return False
        runs.require_same(found.facts["run"], runs.as_dict(self._run), found.path)
        if found.facts["topology"] != self._topology:
            logging.warning(
                "step %d was reached on %s and goes on on %s: numbers agree but for rounding",
                *(found.step, found.facts["topology"], self._topology),
            )
        checkpoints.read(found, self._variables())
        self.progress = Progress.from_facts(found.facts["progress"])
        self._saved = found
        return True

    def save(self, keep: int) -> None:
        """Write a checkpoint, and delete all but the newest `keep`.

        Raises:
          NonFiniteError: If a variable is no longer a number; nothing is written then.
          StorageError: If the run directory has another owner by now.
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
        """Yield the model, with the averages of its weights in their place if they are kept."""
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
        """Make the weights, averaged if that is asked for, the ones that generation uses."""
        self._owner.confirm()
        with self.averaged() as model:
            runs.save_model(self._run_dir, model, self.progress.step, facts)
        failpoints.reach("model.saved")

    def _variables(self) -> checkpoints.Variables:
        optimizers = {f"optimizer_{i}": o for i, o in enumerate(self.optimizers)}
        named = checkpoints.variables_of(model=self.model, **optimizers)
        return {**named, "rate_scale": self._rate_scale}

    def _facts(self) -> dict[str, Any]:
        """Return what is kept beside the variables."""
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
