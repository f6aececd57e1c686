"""The batches of a run: which windows train, which validate, and what a step was given."""

import dataclasses
from typing import Any

import tensorflow as tf

from lstm_gen import runs
from lstm_gen.data import manifest, pipeline
from lstm_gen.models import family


def training(
    strategy: tf.distribute.Strategy, run: runs.Run, dataset: manifest.Dataset, start_step: int
) -> Any:
    """Return the distributed stream of batches from a step on; each worker reads its share."""

    def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
        return pipeline.windows(
            dataset,
            "train",
            run.window,
            context.get_per_replica_batch_size(run.training.batch_size),
            run.training.seed,
            start_step=start_step * context.num_replicas_in_sync // context.num_input_pipelines,
            input_pipeline_id=context.input_pipeline_id,
            num_input_pipelines=context.num_input_pipelines,
            augment=run.augmentation,
        )

    return strategy.distribute_datasets_from_function(share)


def validation(run: runs.Run, dataset: manifest.Dataset) -> Any:
    """Return the validation windows, overlapping so that every frame is scored in context."""
    if not dataset.splits["validation"].n_records:
        return ()
    hop = max(1, run.window.timesteps // 4)
    window = dataclasses.replace(run.window, window_hop=hop)
    return pipeline.windows(
        dataset, "validation", window, run.training.batch_size, 0, training=False
    )


def at_step(run: runs.Run, dataset: manifest.Dataset, step: int) -> family.Batch:
    """Return the batch that an optimizer step, counted from 1, was given on all devices."""
    batches = pipeline.windows(
        dataset,
        "train",
        run.window,
        run.training.batch_size,
        run.training.seed,
        start_step=step - 1,
        augment=run.augmentation,
    )
    return next(iter(batches))
