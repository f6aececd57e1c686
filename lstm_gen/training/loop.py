"""The loop around the step: resume, train, validate, listen, keep, stop."""

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from lstm_gen import checkpoints, config, errors, runs, training_config
from lstm_gen.data import manifest, pipeline, primers
from lstm_gen.training import monitor as monitors
from lstm_gen.training import step as steps

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_PRIMER_SECONDS = 4.0


@dataclasses.dataclass
class Progress:
    """Where a run is; stored beside each checkpoint.

    Attributes:
      step: Optimizer steps done.
      best_loss: Lowest validation loss so far.
      best_step: The step it was reached at.
      stale: Validations since then.
    """

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    stale: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the values as JSON has them (which knows no infinity)."""
        values = dataclasses.asdict(self)
        return values | {"best_loss": None if math.isinf(self.best_loss) else self.best_loss}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Progress":
        """Return the progress that `facts` was made from."""
        best = facts["best_loss"]
        return cls(**facts | {"best_loss": math.inf if best is None else best})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a training run reached.

    Attributes:
      progress: Where it ended.
      resumed_from: Step that it started from.
      stopped_early: Whether patience ended it.
      validation: The last validation's metrics; empty if there is no validation split.
    """

    progress: Progress
    resumed_from: int
    stopped_early: bool
    validation: dict[str, float]


class Trainer:
    """One run in progress: the model, its optimizers, and what is done every so many steps.

    Args:
      run_dir: The run directory, made by `runs.open_or_create`.
      run: What it holds.
      dataset: The dataset that it is trained on.
      settings: What is looked at while training.
      strategy: Where the model lives.
      primer: Normalised frames for the rollouts, float32 [n_samples, frames, channels].
    """

    def __init__(
        self,
        run_dir: str,
        run: runs.Run,
        dataset: manifest.Dataset,
        settings: training_config.MonitorConfig,
        strategy: tf.distribute.Strategy,
        primer: np.ndarray,
    ) -> None:
        self._run_dir, self._run, self._dataset = run_dir, run, dataset
        self._settings, self._strategy = settings, strategy
        with strategy.scope():
            self._model = run.build_model()
            objectives = run.family.objectives(self._model, run.signal)
            self._optimizers = [steps.make_optimizer(run.training) for _ in objectives]
            for optimizer, objective in zip(self._optimizers, objectives, strict=True):
                optimizer.build(objective.variables)
        self._train_call = steps.make_train_call(
            strategy, objectives, self._optimizers, run.training
        )
        self._validate_call = steps.make_validate_call(strategy, objectives)
        self._watched = f"{objectives[0].name}_loss"
        self._monitor = monitors.Monitor(run_dir, run, settings, primer)
        self._progress = Progress()
        self._validation: dict[str, float] = {}
        self._validation_batches = self._validation_data()

    @property
    def n_parameters(self) -> int:
        """Trainable values of the model."""
        return sum(int(np.prod(v.shape)) for v in self._model.trainable_variables)

    def train(self) -> Result:
        """Train from the newest checkpoint to the last step, or until patience ends it.

        Raises:
          InputError: If the loss is no longer a number, naming the step.
        """
        self._resume()
        resumed_from = self._progress.step
        iterator = iter(self._training_data(resumed_from))
        with self._bar() as bar:
            while self._progress.step < self._run.training.steps and not self._is_stale():
                self._advance(iterator, bar)
        self._finish()
        return Result(
            progress=self._progress,
            resumed_from=resumed_from,
            stopped_early=self._progress.step < self._run.training.steps,
            validation=self._validation,
        )

    def _advance(self, iterator: Iterator[Any], bar: Any) -> None:
        """Run one call of steps, then whatever is due."""
        first, n_steps = self._progress.step, self._steps_to_next_event()
        start = time.perf_counter()
        metrics = {
            name: values.numpy()
            for name, values in self._train_call(
                iterator, tf.constant(first), tf.constant(n_steps)
            ).items()
        }
        seconds = time.perf_counter() - start
        _require_finite(metrics, first)
        self._progress.step = first + n_steps
        rates = self._rates(n_steps, seconds)
        means = {f"train/{name}": float(values.mean()) for name, values in metrics.items()}
        self._monitor.scalars(self._progress.step, means | rates)
        bar.update(n_steps)
        bar.set_postfix_str(self._postfix(metrics, rates), refresh=False)
        self._do_what_is_due()

    def _do_what_is_due(self) -> None:
        """Validate, listen and checkpoint, each at its own interval."""
        step, settings = self._progress.step, self._settings
        last = step == self._run.training.steps
        if step % settings.validate_every_steps == 0 or last:
            self._validate()
        if settings.sample_every_steps and (step % settings.sample_every_steps == 0 or last):
            self._monitor.rollout(step, self._model)
        if step % settings.checkpoint_every_steps == 0 or last or self._is_stale():
            self._save()
        self._monitor.flush()

    def _validate(self) -> None:
        """Score the validation split; keep the weights if they are the best so far."""
        totals: dict[str, float] = {}
        first_batch = None
        for batch in self._validation_batches:
            first_batch = first_batch or batch
            for name, value in self._validate_call(batch).items():
                totals[name] = totals.get(name, 0.0) + float(value.numpy())
        if first_batch is None:
            return
        weight = totals.pop("weight")
        self._validation = {name: value / weight for name, value in totals.items()}
        step = self._progress.step
        _require_finite({name: np.array([v]) for name, v in self._validation.items()}, step - 1)
        logged = {f"validation/{name}": value for name, value in self._validation.items()}
        self._monitor.scalars(step, logged)
        self._monitor.prediction(step, self._model, first_batch)
        self._note_validation(self._validation[self._watched])

    def _note_validation(self, loss: float) -> None:
        progress = self._progress
        better = loss < progress.best_loss
        if better:
            progress.best_loss, progress.best_step, progress.stale = loss, progress.step, 0
        else:
            progress.stale += 1
        if better and self._settings.best_weights:
            runs.save_model(self._run_dir, self._model, progress.step, self._validation)
        named = " ".join(f"{name}={value:.4f}" for name, value in self._validation.items())
        tqdm.tqdm.write(f"step {progress.step}: validation {named}{' (best)' if better else ''}")

    def _resume(self) -> None:
        state = checkpoints.newest(runs.checkpoints_dir(self._run_dir))
        if state is None:
            return
        checkpoints.read(state, self._variables())
        self._progress = Progress.from_facts(state.facts)
        logging.info("resuming after step %d", self._progress.step)
        tqdm.tqdm.write(f"resuming after step {self._progress.step}")

    def _save(self) -> None:
        parent = runs.checkpoints_dir(self._run_dir)
        facts = self._progress.facts()
        state = checkpoints.write(parent, self._progress.step, self._variables(), facts)
        checkpoints.keep_newest(parent, self._settings.keep_checkpoints, state)

    def _finish(self) -> None:
        """Leave weights for generation: the last, or the best if those were asked for."""
        weights = checkpoints.newest(runs.model_dir(self._run_dir))
        wanted = {self._progress.step}
        if self._settings.best_weights:
            wanted.add(self._progress.best_step)
        if weights is None or weights.step not in wanted:
            runs.save_model(self._run_dir, self._model, self._progress.step, self._validation)

    def _is_stale(self) -> bool:
        return 0 < self._settings.patience <= self._progress.stale

    def _variables(self) -> checkpoints.Variables:
        optimizers = {f"optimizer_{i}": o for i, o in enumerate(self._optimizers)}
        return checkpoints.variables_of(model=self._model, **optimizers)

    def _steps_to_next_event(self) -> int:
        """Return how many steps to run on the device before something else is due."""
        step, settings = self._progress.step, self._settings
        intervals = [settings.validate_every_steps, settings.checkpoint_every_steps]
        intervals += [settings.sample_every_steps] if settings.sample_every_steps else []
        until = [interval - step % interval for interval in intervals]
        return min([settings.steps_per_call, self._run.training.steps - step, *until])

    def _training_data(self, start_step: int) -> Any:
        """Return the distributed stream of batches from a step on; each worker reads its share."""
        training = self._run.training

        def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
            return pipeline.windows(
                self._dataset,
                "train",
                self._run.window,
                context.get_per_replica_batch_size(training.batch_size),
                training.seed,
                start_step=start_step * context.num_replicas_in_sync // context.num_input_pipelines,
                input_pipeline_id=context.input_pipeline_id,
                num_input_pipelines=context.num_input_pipelines,
                augment=self._run.augmentation,
            )

        return self._strategy.distribute_datasets_from_function(share)

    def _validation_data(self) -> Any:
        """Return the validation windows, overlapping so that every frame is scored in context."""
        if not self._dataset.splits["validation"].n_records:
            return ()
        hop = max(1, self._run.window.timesteps // 4)
        window = dataclasses.replace(self._run.window, window_hop=hop)
        return pipeline.windows(
            self._dataset, "validation", window, self._run.training.batch_size, 0, training=False
        )

    def _rates(self, n_steps: int, seconds: float) -> dict[str, float]:
        frames = n_steps * self._run.training.batch_size * self._run.window.timesteps
        rate = self._optimizers[0].learning_rate
        return {
            "speed/steps_per_second": n_steps / seconds,
            "speed/frames_per_second": frames / seconds,
            "train/learning_rate": float(tf.convert_to_tensor(rate).numpy()),
        }

    def _postfix(self, metrics: dict[str, np.ndarray], rates: dict[str, float]) -> str:
        loss = metrics[self._watched][-1]
        return f"loss {loss:.4f}, {rates['speed/frames_per_second']:,.0f} frames/s"

    def _bar(self) -> Any:
        """Return the progress bar over all steps, those of earlier starts included."""
        return tqdm.tqdm(
            total=self._run.training.steps,
            initial=self._progress.step,
            unit="step",
            smoothing=0.1,
            dynamic_ncols=True,
        )


def _require_finite(metrics: dict[str, np.ndarray], first: int) -> None:
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise errors.InputError(
                f"{name} must stay a number; start another --run_dir with a lower --learning_rate "
                "or --clip_norm, or look at the data with tools/check_tfrecord.py. Received: "
                f"{name}={values[bad[0]]} at step {first + int(bad[0]) + 1}; the last checkpoint "
                "is untouched"
            )


def set_up(training: training_config.TrainingConfig, strategy: tf.distribute.Strategy) -> None:
    """Set precision, seeds and determinism, before a model is built.

    Raises:
      InputError: If the batch cannot be shared out among the devices.
    """
    config.require(
        training.batch_size % strategy.num_replicas_in_sync == 0,
        "batch_size must be a multiple of the number of devices",
        batch_size=training.batch_size,
        devices=strategy.num_replicas_in_sync,
    )
    # Every op repeats its bits, so that a resumed run can equal an unbroken one.
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)
    keras.config.set_dtype_policy(_POLICIES[training.precision])


def train(
    run_dir: str,
    run: runs.Run,
    dataset: manifest.Dataset,
    settings: training_config.MonitorConfig,
    strategy: tf.distribute.Strategy,
) -> Result:
    """Train a run to its end, resuming if it was begun.

    Args:
      run_dir: The run directory, made by `runs.open_or_create`.
      run: What it holds.
      dataset: The dataset that it is trained on.
      settings: What is looked at while training.
      strategy: Where the model lives.

    Returns:
      What was reached.

    Raises:
      InputError: If the loss is no longer a number, naming the step, no checkpoint of a
        run that has some is whole, or the batch cannot be shared out among the devices.
    """
    set_up(run.training, strategy)
    primer_frames = round(_PRIMER_SECONDS * run.audio.frames_per_second)
    split = "validation" if dataset.splits["validation"].n_records else "train"
    primer = primers.draw(dataset, split, settings.n_samples, primer_frames, run.training.seed)
    trainer = Trainer(run_dir, run, dataset, settings, strategy, primer)
    tqdm.tqdm.write(f"{run.family.name}: {trainer.n_parameters:,} parameters")
    return trainer.train()
