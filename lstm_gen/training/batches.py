"""The batches of a run: which windows train, which validate, and what a step was given."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.models import base
from lstm_gen.runs import run as runs


def training(
    strategy: tf.distribute.Strategy, run: runs.Run, dataset: manifest.Dataset, start_step: int
) -> Any:
    """Return the stream of batches from a step on, shared out over the replicas."""
    return pipeline.shared_windows(
        strategy, dataset, "train", **_settings(run, "train", start_step)
    )


def validation(strategy: tf.distribute.Strategy, run: runs.Run, dataset: manifest.Dataset) -> Any:
    """Return the validation windows, overlapping so that every frame is scored in context."""
    if not dataset.splits["validation"].n_records:
        return ()
    return pipeline.shared_windows(strategy, dataset, "validation", **_settings(run, "validation"))


def examples(run: runs.Run, dataset: manifest.Dataset) -> base.Examples:
    """Return what goes once through the training windows, for what is fitted rather than trained.

    The windows touch, and are as they were recorded.
    """

    def read() -> Iterator[base.Batch]:
        settings = _settings(run, "train") | {"training": False, "seed": 0, "augment": None}
        settings["window"] = dataclasses.replace(run.window, window_hop=0)
        yield from pipeline.windows(dataset, "train", **settings).as_numpy_iterator()

    return read


def local(strategy: tf.distribute.Strategy, batch: Any) -> dict[str, Any]:
    """Return what one of this process's replicas has of a batch."""
    parts = strategy.experimental_local_results
    return {name: parts(values)[0] for name, values in batch.items()}


def behind(run: runs.Run, dataset: manifest.Dataset, split: str, step: int) -> Iterable[base.Batch]:
    """Return what a step, counted from 1, was given on all replicas, or all of a validation."""
    first = step - 1 if split == "train" else 0
    found = pipeline.windows(dataset, split, **_settings(run, split, first))
    return found.take(1) if split == "train" else found


def _settings(run: runs.Run, split: str, start_step: int = 0) -> dict[str, Any]:
    """Return how windows of a split are read."""
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
