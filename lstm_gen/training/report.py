"""Summary of a training run for the terminal: its data before, its result after."""

from lstm_gen.config.training import TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.platform import errors
from lstm_gen.training import loop


def describe_data(dataset: manifest.Dataset, window: WindowConfig, training: TrainingConfig) -> str:
    """Return the size of the splits and of an epoch, in minutes, windows and steps.

    Raises:
      InputError: If the training split holds less than a batch of windows, or the validation split
        is neither empty nor as long as a window.
    """
    split = dataset.splits["train"]
    windows = pipeline.windows_per_epoch(dataset, "train", window)
    errors.require(
        windows >= training.batch_size,
        "the training split must hold at least one batch of windows; lower --batch_size or "
        "--timesteps, or add recordings",
        windows=windows,
        batch_size=training.batch_size,
        timesteps=window.timesteps,
    )
    held_out = dataset.splits["validation"]
    errors.require(
        not held_out.n_records or pipeline.windows_per_epoch(dataset, "validation", window) > 0,
        "the validation split must hold a window, or nothing; lower --timesteps, or make the "
        "dataset again with a larger --block_seconds or with --validation_fraction=0",
        validation_seconds=held_out.seconds,
        timesteps=window.timesteps,
    )
    epochs = training.steps * training.batch_size / windows
    return (
        f"data      {split.seconds / 60:.1f} min to train on, {held_out.seconds / 60:.1f} min held "
        f"out; {windows} windows of {window.timesteps} frames "
        f"({window.timesteps / dataset.audio.frames_per_second:.1f} s) an epoch\n"
        f"training  {training.steps} steps of {training.batch_size} windows, {epochs:.0f} epochs"
    )


def describe_result(
    result: loop.Result,
    training: TrainingConfig,
    baseline_scores: dict[str, float],
    adversarial: bool = False,
) -> str:
    """Return the steps done, the best validation and, for likelihoods, the baselines beside it.

    Args:
      result: Of the training.
      training: Its settings.
      baseline_scores: Name of a simple predictor to its negative log-likelihood, nats per frame and
        dimension.
      adversarial: Whether the model's losses are adversarial; then no step is the best.
    """
    progress = result.progress
    lines = [f"steps     {progress.step} of {training.steps}"]
    if result.resumed_from:
        lines[0] += f", resumed after {result.resumed_from}"
    if result.stopped_early:
        lines[0] += ", stopped early: validation no longer improves"
    if progress.best_step and not adversarial:
        lines.append(f"best      step {progress.best_step}, loss {progress.best_loss:.4f}")
    scores = dict(baseline_scores)
    if "nats_per_dim" in result.validation:
        scores["this model, last validation"] = result.validation["nats_per_dim"]
    if scores:
        lines.append("held out  nats per frame and dimension, lower is better")
        lines += [f"  {value:8.4f}  {name}" for name, value in _sorted(scores)]
    return "\n".join(lines)


def _sorted(scores: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])
