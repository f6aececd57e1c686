"""Batches of a run: training windows, validation windows, and the batch of a given step."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
import tqdm

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.models import base
from lstm_gen.runs import run as runs


def training(
    strategy: tf.distribute.Strategy, run: runs.Run, dataset: manifest.Dataset, start_step: int
) -> Any:
    """Return the endless stream of training batches from a step on, divided among the replicas."""
    return pipeline.distributed_windows(
        strategy, dataset, "train", **_settings(run, "train", start_step)
    )


def validation(strategy: tf.distribute.Strategy, run: runs.Run, dataset: manifest.Dataset) -> Any:
    """Return the validation windows, overlapping so that most frames have context before them."""
    if not dataset.splits["validation"].n_records:
        return ()
    return pipeline.distributed_windows(
        strategy, dataset, "validation", **_settings(run, "validation")
    )


def examples(
    run: runs.Run, dataset: manifest.Dataset, show_progress: bool = False
) -> base.Examples:
    """Return a function that reads the training windows once, in order, without augmentation.

    The windows are adjacent. For priors and bounds, which are fitted and not trained.

    Args:
      run: The run.
      dataset: Its dataset.
      show_progress: Whether to show a progress bar on stderr.
    """
    window = dataclasses.replace(run.window, window_hop=0)
    settings = _settings(run, "train") | {
        **{"window": window, "training": False, "seed": 0, "augment": None}
    }
    n_windows = pipeline.windows_per_epoch(dataset, "train", window)

    def read() -> Iterator[base.Batch]:
        with tqdm.tqdm(
            pipeline.windows(dataset, "train", **settings).as_numpy_iterator(),
            total=-(-n_windows // run.training.batch_size),
            desc="reading the training windows",
            unit="batch",
            leave=False,
            disable=not show_progress,
        ) as bar:
            yield from bar

    return read


def local(strategy: tf.distribute.Strategy, batch: Any) -> dict[str, Any]:
    """Return the part of a batch on the first replica of this process."""
    parts = strategy.experimental_local_results
    return {name: parts(values)[0] for name, values in batch.items()}


def batch_at_step(
    run: runs.Run, dataset: manifest.Dataset, split: str, step: int
) -> Iterable[base.Batch]:
    """Return the global batch of a step, counted from 1, or all validation batches."""
    first = step - 1 if split == "train" else 0
    found = pipeline.windows(dataset, split, **_settings(run, split, first))
    return found.take(1) if split == "train" else found


def _settings(run: runs.Run, split: str, start_step: int = 0) -> dict[str, Any]:
    """Return the arguments of `pipeline.windows` for a split."""
    training = split == "train"
    hop = run.window.window_hop if training else max(1, run.window.timesteps // 4)
    return {
        "window": dataclasses.replace(run.window, window_hop=hop),
        "batch_size": run.training.batch_size,
        "seed": run.training.seed if training else 0,
        "start_step": start_step,
        "training": training,
        "augment": run.augmentation if training else None,
    }
