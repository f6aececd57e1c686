"""Multi-process benchmark: a training step of two synchronous processes beside that of one.

Both run on the same cores and exchange gradients over loopback, so the ratio is the pure overhead
of distribution.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import tensorflow as tf

from benchmarks import harness
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.lstm import model as lstm
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import devices
from lstm_gen.training import step as steps

_AUDIO = AudioConfig()
_CONFIG = LSTMConfig()
_SPEC = base.FrameSpec(audio=_AUDIO, timesteps=256, shift=_CONFIG.patch_frames)
_TRAINING = TrainingConfig()
_N_STEPS, _ROUNDS = 6, 3
_ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "NUMBA_NUM_THREADS"), "1")


def rows() -> list[harness.Row]:
    """Return the rows of two processes, with a thread each and with two threads each."""
    one, two, crowded = [], [], []
    for _ in range(_ROUNDS):
        one.append(_measure([{}]))
        two.append(_measure([dict(_ONE_THREAD), dict(_ONE_THREAD)]))
        crowded.append(_measure([{}, {}]))
    return [
        harness.Row(
            what=f"training step, 2 x 512, batch {_TRAINING.batch_size}, {what}",
            baseline="one process, two threads",
            value=harness.ratio(one, times),
            unit="x",
            target=0.8,
            detail=f"{statistics.median(times):.3f} s against {statistics.median(one):.3f} s",
        )
        for what, times in (
            ("two processes, a thread each", two),
            ("two processes, two threads each", crowded),
        )
    ]


def _measure(processes: list[dict[str, str]]) -> float:
    """Return the seconds per step of synchronous processes with these environment variables."""
    sockets = [socket.create_server(("localhost", 0)) for _ in processes]
    hosts = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    started = []
    for index, variables in enumerate(processes):
        described = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.replicas"],
                env=os.environ | variables | {"TF_CONFIG": json.dumps(described)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    return max(float(process.communicate()[0].split()[-1]) for process in started)


def _time_step() -> float:
    """Return the seconds per step of the cluster that TF_CONFIG describes."""
    strategy = devices.strategy("cpu")
    with strategy.scope():
        model = lstm.LSTMModel.create(_CONFIG, _SPEC)
        objectives = model.objectives()
        optimizers = [steps.make_optimizer(_TRAINING) for _ in objectives]
        for optimizer, objective in zip(optimizers, objectives, strict=True):
            optimizer.build(objective.variables)
    batches = iter(strategy.distribute_datasets_from_function(_batches))
    call = steps.make_train_call(strategy, objectives, optimizers, _TRAINING)
    call(batches, tf.constant(0), tf.constant(2))  # compiles
    start = time.perf_counter()
    call(batches, tf.constant(2), tf.constant(_N_STEPS))
    return (time.perf_counter() - start) / _N_STEPS


def _batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Return one batch of noise, repeated."""
    n_rows = context.get_per_replica_batch_size(_TRAINING.batch_size)
    seed = rng.seed_from(0, rng.TRAINING, 0)
    frames = rng.normal([n_rows, _SPEC.timesteps + _SPEC.shift, _SPEC.channels], seed)
    return tf.data.Dataset.from_tensors({"frames": frames, "row": tf.range(n_rows)}).repeat()


if __name__ == "__main__":
    print(_time_step())
