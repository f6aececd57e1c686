"""Training loop: resume, train, validate, log, save checkpoints, handle stop requests and NaN."""

import dataclasses
import signal
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from lstm_gen.config.training import MonitorConfig, TrainingConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts
from lstm_gen.models import base
from lstm_gen.platform import devices, errors, failpoints
from lstm_gen.runs import checkpoints, lease
from lstm_gen.runs import run as runs
from lstm_gen.training import batches, nan_guard, stop_request
from lstm_gen.training import monitor as monitors
from lstm_gen.training import state as states
from lstm_gen.training import step as steps

_PRIMER_SECONDS = 4.0
_ROLLBACK_RATE = 0.25  # learning-rate factor after a NaN/inf rollback
_MAX_CALL_SECONDS = 5.0  # of a call of steps whose speed is known; a stop request waits for it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a training.

    Attributes:
      progress: Steps done and the best validation.
      resumed_from: Step that it resumed from, or 0.
      stopped_early: Whether patience ended it.
      validation: Metrics of the last validation; empty without a validation split.
    """

    progress: states.Progress
    resumed_from: int
    stopped_early: bool
    validation: dict[str, float]


class Trainer:
    """Training of one run: its state, its compiled steps and everything done at intervals.

    Args:
      run_dir: Directory to write, made by `runs.open_or_create`.
      run: The run.
      dataset: Its dataset.
      settings: Intervals of validation, checkpoints and logging.
      strategy: Devices of the model.
      primer: n_samples excerpts, continued by rollouts and reconstructed.
      owner: Lease of the run directory.
      stop: Request to stop.
      resume_dir: Directory to read checkpoints from, if it is not `run_dir`.
    """

    def __init__(
        self,
        run_dir: str,
        run: runs.Run,
        dataset: manifest.Dataset,
        settings: MonitorConfig,
        strategy: tf.distribute.Strategy,
        primer: excerpts.Excerpts,
        owner: lease.Lease,
        stop: stop_request.StopRequest,
        resume_dir: str,
    ) -> None:
        self._run_dir, self._run, self._dataset = run_dir, run, dataset
        self._settings, self._strategy, self._stop = settings, strategy, stop
        self._state = states.State(run_dir, run, dataset, strategy, owner, resume_dir)
        objectives = self._state.objectives
        self._train_call = steps.make_train_call(
            strategy, objectives, self._state.optimizers, run.training
        )
        self._validate_call = steps.make_validate_call(strategy, objectives)
        self._watched = f"{objectives[0].name}_loss"
        self._redundant = {f"{one.name}_loss" for one in objectives if one.loss_metric}
        tqdm.tqdm.write(f"{run.settings.family}: {self._state.n_parameters:,} parameters")
        self._begin()
        self._resumed_from = self._progress.step
        self._monitor = monitors.Monitor(run_dir, run, settings, primer, stop)
        self._tuning = monitors.TuningMetric()
        self._saturation = nan_guard.Saturation(objectives, run.training.steps)
        self._validation: dict[str, float] = {}
        self._validation_batches = batches.validation(strategy, run, dataset)
        self._steps_per_call = StepsPerCall(run, settings, strategy)
        self._is_compiled = False

    @property
    def _progress(self) -> states.Progress:
        return self._state.progress

    def train(self) -> Result:
        """Train to the last step, or until patience ends it.

        Raises:
          InputError: If a loss is NaN or infinite for the second time, naming the step.
          StoppedError: If a signal arrived; the state is saved.
        """
        iterator = self._open_stream()
        with self._bar() as bar:
            while self._is_validation_due() or not self._is_done():
                try:
                    self._stop_if_requested()
                    self._advance(iterator, bar)
                except nan_guard.NonFiniteError as error:
                    self._roll_back(error)
                    iterator = self._open_stream()
                bar.update(self._progress.step - bar.n)
            self._stop_if_requested()
        self._finish()
        return Result(
            progress=self._progress,
            resumed_from=self._resumed_from,
            stopped_early=self._progress.step < self._run.training.steps,
            validation=self._validation,
        )

    def _begin(self) -> None:
        """Resume from the newest checkpoint, or save the initial state as the first one."""
        if self._state.restore():
            logging.info("resuming after step %d", self._progress.step)
            tqdm.tqdm.write(f"resuming after step {self._progress.step}")
        else:
            self._state.model.initialise(self._examples())
            self._state.save(self._settings.keep_checkpoints)

    def _examples(self) -> base.Examples:
        shown = devices.is_chief(self._strategy)
        return batches.examples(self._run, self._dataset, show_progress=shown)

    def _open_stream(self) -> Iterator[Any]:
        """Return the training batches from the current step on."""
        step = self._progress.step
        return iter(batches.training(self._strategy, self._run, self._dataset, step))

    def _advance(self, iterator: Iterator[Any], bar: Any) -> None:
        """Run a call of steps, unless a validation is still due, then the tasks due after it."""
        if not self._is_validation_due():
            self._run_steps(iterator, bar)
        self._run_due_tasks()

    def _run_steps(self, iterator: Iterator[Any], bar: Any) -> None:
        first, n_steps = self._progress.step, self._steps_per_call.at(self._progress.step)
        if not self._is_compiled:
            bar.set_description_str("compiling")
        start = time.perf_counter()
        metrics = {
            name: values.numpy()
            for name, values in self._train_call(
                iterator, tf.constant(first), tf.constant(n_steps)
            ).items()
        }
        seconds = time.perf_counter() - start
        if not self._is_compiled:
            bar.set_description_str("", refresh=False)
            self._is_compiled = True
        failpoints.reach("call.done")
        nan_guard.require_finite(metrics, first)
        for warning in self._saturation.update(metrics):
            tqdm.tqdm.write(f"step {first + n_steps}: {warning}")
        self._progress.step = first + n_steps
        rates = self._steps_per_call.measure(n_steps, seconds)
        rates["train/learning_rate"] = self._state.learning_rate
        means = {f"train/{name}": float(values.mean()) for name, values in metrics.items()}
        self._monitor.log_scalars(self._progress.step, means | rates)
        bar.set_postfix_str(self._postfix(metrics, rates), refresh=False)

    def _run_due_tasks(self) -> None:
        """Validate, log samples and save a checkpoint, each at its own interval."""
        step, settings = self._progress.step, self._settings
        last = step == self._run.training.steps
        if self._is_validation_due():
            self._validate()
        if self._must_stop():
            return
        if settings.sample_every_steps and (step % settings.sample_every_steps == 0 or last):
            with self._state.averaged() as model:
                self._monitor.log_rollout(step, model)
                self._monitor.log_reconstruction(step, model)
        if settings.histogram_every_steps and step % settings.histogram_every_steps == 0:
            self._monitor.log_histograms(step, self._state.model)
        if step % settings.checkpoint_every_steps == 0 or last or self._is_stale():
            self._state.save(settings.keep_checkpoints)
        self._monitor.flush()

    def _validate(self) -> None:
        """Score the validation split, unless a stop is requested; save the best weights."""
        totals: dict[str, float] = {}
        first_batch = None
        with self._state.averaged() as model:
            for batch in self._validation_batches:
                first_batch = first_batch or batches.local(self._strategy, batch)
                for name, value in self._validate_call(batch).items():
                    totals[name] = totals.get(name, 0.0) + float(value.numpy())
                if self._must_stop():
                    return
            if first_batch is not None:
                self._score(totals)
                self._monitor.log_prediction(self._progress.step, model, first_batch)
        self._progress.validated_step = self._progress.step

    def _score(self, totals: dict[str, float]) -> None:
        """Log the means of a validation, given weighted sums and the sum of weights."""
        weight = totals.pop("weight")
        self._validation = {name: value / weight for name, value in totals.items()}
        step = self._progress.step
        nan_guard.require_finite_validation(self._validation, step)
        logged = {f"validation/{name}": value for name, value in self._validation.items()}
        self._monitor.log_scalars(step, logged)
        self._tuning.add(step, self._watched, self._validation[self._watched])
        self._update_best(self._validation[self._watched])

    def _update_best(self, loss: float) -> None:
        progress = self._progress
        better = loss < progress.best_loss
        if better:
            progress.best_loss, progress.best_step, progress.stale = loss, progress.step, 0
        else:
            progress.stale += 1
        if self._run.family.adversarial or (better and self._keeps_best):
            self._state.save_model(self._validation)
        named = " ".join(
            f"{name}={value:.4f}"
            for name, value in self._validation.items()
            if name not in self._redundant
        )
        tqdm.tqdm.write(f"step {progress.step}: validation {named}{' (best)' if better else ''}")

    def _stop_if_requested(self) -> None:
        """Save a checkpoint and raise StoppedError if a stop is requested."""
        if not self._must_stop():
            return
        if not self._state.is_saved:
            self._state.save(self._settings.keep_checkpoints)
        number = self._stop.signal or signal.SIGTERM  # the signal of another process
        raise errors.StoppedError(
            f"stopped by {number.name}; step {self._progress.step} is saved, and the same command "
            "continues from there",
            number,
        )

    def _must_stop(self) -> bool:
        """Whether a stop is requested from this process or another one of the cluster."""
        return devices.average(self._strategy, float(bool(self._stop))) > 0

    def _roll_back(self, error: nan_guard.NonFiniteError) -> None:
        """Return to the last checkpoint with a lower learning rate.

        Raises:
          InputError: If that has happened before in this run.
        """
        suspect_batches = batches.batch_at_step(self._run, self._dataset, error.split, error.step)
        where = f"{error}, {nan_guard.describe_recordings(suspect_batches, self._dataset)}"
        if self._state.was_slowed:
            raise errors.InputError(
                f"{error.name} must stay finite; start another --run_dir with a lower "
                "--learning_rate or --clip_norm, or look at the data with `lstm_gen check`. "
                f"Received: {where}; the last checkpoint is untouched"
            )
        self._state.restore()
        self._state.slow_down(_ROLLBACK_RATE)
        tqdm.tqdm.write(
            f"{where}: back to step {self._progress.step}, with the learning rate times "
            f"{_ROLLBACK_RATE}"
        )

    def _finish(self) -> None:
        """Save the last or the best weights; fit priors or bounds; write the animation."""
        weights = checkpoints.newest(runs.model_dir(self._run_dir))
        wanted = {self._progress.step}
        if self._keeps_best:
            wanted.add(self._progress.best_step)
        if weights is None or weights.step not in wanted:
            self._state.save_model(self._validation)
        self._fit()
        self._monitor.animate()

    def _fit(self) -> None:
        """Fit the family's priors or bounds to the training data; save them with the weights."""
        weights = checkpoints.newest(runs.model_dir(self._run_dir))
        if not self._run.family.fitted or weights is None or weights.facts.get("fitted"):
            return
        fitted = self._run.family.fitted
        tqdm.tqdm.write(f"fitting {fitted} to the weights of step {weights.step}")
        model = dataclasses.replace(self._run, directory=self._run_dir).load_model()
        with self._stop.immediate("all steps are saved, and the same command repeats the fitting"):
            model.fit_data(self._examples())
        facts = weights.facts | {"fitted": True}
        runs.save_model(self._run_dir, model, weights.step, facts)

    def _is_done(self) -> bool:
        return self._progress.step >= self._run.training.steps or self._is_stale()

    @property
    def _keeps_best(self) -> bool:
        """Whether the best weights are kept; adversarial losses do not rank them."""
        return self._settings.best_weights and not self._run.family.adversarial

    def _is_stale(self) -> bool:
        return 0 < self._settings.patience <= self._progress.stale

    def _is_validation_due(self) -> bool:
        """Whether a validation is due at this step and not done yet."""
        step = self._progress.step
        wanted = step % self._settings.validate_every_steps == 0 or step == self._run.training.steps
        return wanted and step > self._progress.validated_step

    def _postfix(self, metrics: dict[str, np.ndarray], rates: dict[str, float]) -> str:
        loss = metrics[self._watched][-1]
        return f"loss {loss:.4f}, {rates['speed/frames_per_second']:,.0f} frames/s"

    def _bar(self) -> Any:
        """Return the progress bar over all steps, those before a resumption included."""
        return tqdm.tqdm(
            total=self._run.training.steps,
            initial=self._progress.step,
            unit="step",
            smoothing=0.1,
            dynamic_ncols=True,
            disable=not devices.is_chief(self._strategy),
        )


class StepsPerCall:
    """Number of steps that the device runs before control returns to Python.

    Args:
      run: The run.
      settings: Intervals of validation, checkpoints and logging.
      strategy: Devices of the model.
    """

    def __init__(
        self,
        run: runs.Run,
        settings: MonitorConfig,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._run, self._settings, self._strategy = run, settings, strategy
        self._seconds_per_step = _MAX_CALL_SECONDS  # until it is measured

    def at(self, step: int) -> int:
        """Return the number of steps to run after `step`, up to the next validation or the like."""
        settings = self._settings
        intervals = (
            settings.validate_every_steps,
            settings.checkpoint_every_steps,
            settings.sample_every_steps,
            settings.histogram_every_steps,
        )
        until = [interval - step % interval for interval in intervals if interval]
        most = max(1, int(_MAX_CALL_SECONDS / self._seconds_per_step))
        return min([settings.steps_per_call, self._run.training.steps - step, most, *until])

    def measure(self, n_steps: int, seconds: float) -> dict[str, float]:
        """Record the duration of a call; return its speed under the names of the log."""
        # All processes must run the same number of steps, so their times are averaged.
        self._seconds_per_step = devices.average(self._strategy, seconds / n_steps)
        frames = n_steps * self._run.training.batch_size * self._run.window.timesteps
        return {
            "speed/steps_per_second": n_steps / seconds,
            "speed/frames_per_second": frames / seconds,
        }


def set_up(training: TrainingConfig, strategy: tf.distribute.Strategy) -> None:
    """Set seeds and deterministic operations, before a model is built.

    Raises:
      InputError: If the batch cannot be divided among the devices.
    """
    errors.require(
        training.batch_size % (strategy.num_replicas_in_sync * training.accumulate) == 0,
        "batch_size must be a multiple of the number of devices, times accumulate",
        batch_size=training.batch_size,
        devices=strategy.num_replicas_in_sync,
        accumulate=training.accumulate,
    )
    # Deterministic to the bit, so that a resumed run equals an uninterrupted one.
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)


def train(
    run_dir: str,
    run: runs.Run,
    dataset: manifest.Dataset,
    settings: MonitorConfig,
    strategy: tf.distribute.Strategy,
    resume_dir: str = "",
) -> Result:
    """Train a run to its end, resuming if it was begun.

    Args:
      run_dir: The run directory, made by `runs.open_or_create`.
      run: The run.
      dataset: Its dataset.
      settings: Intervals of validation, checkpoints and logging.
      strategy: Devices of the model.
      resume_dir: Directory to read checkpoints from, if `run_dir` is the scratch directory of a
        process that is not the chief.

    Raises:
      InputError: If the loss is NaN or infinite (naming the step), the checkpoints are of another
        run or none is intact, another process trains here, or the batch cannot be divided among
        the devices.
      StoppedError: If SIGTERM or SIGINT arrived; the state is saved.
    """
    errors.require(
        settings.patience == 0 or not run.family.adversarial,
        "patience waits for a lower loss, but adversarial losses need not fall; leave it at 0",
        patience=settings.patience,
        model=run.settings.family,
    )
    set_up(run.training, strategy)
    primer_frames = round(_PRIMER_SECONDS * run.audio.frames_per_second)
    split = "validation" if dataset.splits["validation"].n_records else "train"
    primer = excerpts.draw_excerpts(
        dataset, split, settings.n_samples, primer_frames, run.training.seed
    )
    with lease.hold(run_dir) as owner, stop_request.listen() as stop:
        trainer = Trainer(
            run_dir, run, dataset, settings, strategy, primer, owner, stop, resume_dir
        )
        return trainer.train()
