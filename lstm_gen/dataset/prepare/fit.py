"""Fit of the arrays of an analysis to a sample of the training split, before shards are written.

The sample is runs of consecutive training frames, evenly spaced over at most 32 recordings, which
their contents choose. So the arrays depend on the recordings and the settings alone.

The frames that train are found as for the shards, but trimmed by the power of coarse mel bands,
since activations need what is fitted here. That moves edges of blocks by a few frames, which the
guard between splits covers, unless a recording is within these frames of another number of blocks.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterator

import numpy as np
import threadpoolctl

from lstm_gen.audio import files, fitted, normalisation, representations, stft
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import discover, plan, shards, splits
from lstm_gen.platform import storage

_FRAMES = {"log_mel": 16384, "activations": 6144}
_RUN_FRAMES = 64
_COARSE_BANDS = 16
_LOG_FLOOR = 1e-9  # far below what arrays describe, so that float16 keeps its precision


def write_task(
    job: plan.Job,
    task: plan.Task,
    crashed: Collection[str],
    start: Callable[[str], None],
    report: Callable[[plan.Outcome], None],
) -> None:
    """Read a task's recordings, fit the arrays, write their file and then the receipt.

    Recordings that cannot be used are passed over; the task of their shard says why.

    Args:
      job: Settings, split "auto" resolved.
      task: As `plan.make` makes it.
      crashed: Names of recordings to skip, since they end the process.
      start: Called with the name of each recording before it is opened.
      report: Called when it has been read.
    """
    runs: list[np.ndarray] = []
    n_frames = -(-_FRAMES[job.audio.representation] // max(1, len(task.recordings)))
    with threadpoolctl.threadpool_limits(1):
        for recording in task.recordings:
            start(recording.name)
            if recording.name not in crashed:
                runs += _sample(job, recording, task, n_frames)
            report(plan.Outcome(name=recording.name, status=plan.OK))
        flat = np.ones((1, 1 + job.audio.n_fft // 2), np.float32)  # no recording can be used
        audio = fitted.attach(job.audio, fitted.fit(runs or [flat], job.audio))
    path = storage.join(job.data_dir, fitted.FILE)
    fitted.write(path, audio)
    file = manifest.Shard(**fitted.to_dict(audio)["fitted"], records=0, frames=())
    receipt = plan.Receipt(
        digest=task.digest,
        outcomes=(),
        shards={"train": file},
        checksums={"train": storage.checksum(path)},
        statistics=normalisation.Statistics.zero(job.audio.channels),
    )
    plan.save_receipt(job.data_dir, task, receipt)


def _sample(
    job: plan.Job, recording: discover.Recording, task: plan.Task, n_frames: int
) -> list[np.ndarray]:
    """Return power spectra of about `n_frames` training frames, in runs of consecutive ones."""
    spectra: list[np.ndarray] = []
    try:
        with storage.local_copy(storage.join(job.input_dir, recording.name)) as local:
            path = pathlib.Path(local)  # read twice: first all of it, for which frames train
            here = dataclasses.replace(job, input_dir=str(path.parent))
            copied = dataclasses.replace(recording, name=path.name)
            spectra = _read_spectra(here, copied, _choose(here, copied, task, n_frames))
    except Exception as error:  # as for shards
        shards.blame(error)
    shards.require_unchanged(job, recording)
    return spectra


def _choose(
    job: plan.Job, recording: discover.Recording, task: plan.Task, n_frames: int
) -> list[slice]:
    """Return runs of training frames of a recording, evenly spaced, in order of time."""
    coarse = AudioConfig(
        sample_rate=job.audio.sample_rate,
        n_fft=job.audio.n_fft,
        hop_length=job.audio.hop_length,
        n_mels=min(_COARSE_BANDS, job.audio.n_fft // 2),
    )
    frames = shards.read_frames(dataclasses.replace(job, audio=coarse), recording)
    n_active, rate = int(frames.active.sum()), job.audio.frames_per_second
    sides = splits.assign_frames(n_active, rate, job.split, list(task.shards))
    places, _ = shards.place_segments(frames, sides, job.segment)
    runs = [
        slice(start, min(start + _RUN_FRAMES, place.stop))
        for place in places
        if place.split == "train"
        for start in range(place.start, place.stop, _RUN_FRAMES)
    ]
    n_chosen = min(len(runs), -(-n_frames // _RUN_FRAMES))
    return [runs[index * len(runs) // n_chosen] for index in range(n_chosen)]


def _read_spectra(
    job: plan.Job, recording: discover.Recording, runs: list[slice]
) -> list[np.ndarray]:
    """Return the power spectra, float32 [frames, bins], of runs, which are in order of time."""
    wanted = np.zeros(runs[-1].stop if runs else 0, bool)
    for run in runs:
        wanted[run] = True
    found: list[np.ndarray] = []
    first = 0
    for power in _read_power(job, recording):
        # A copy: a view would keep the whole chunk, and all chunks together any amount of memory.
        found.append(power[np.flatnonzero(wanted[first : first + len(power)])])
        first += len(power)
        if first >= len(wanted):
            break
    ends = np.cumsum([run.stop - run.start for run in runs])
    return np.split(np.concatenate(found), ends[:-1]) if runs else []


def _read_power(job: plan.Job, recording: discover.Recording) -> Iterator[np.ndarray]:
    """Yield the power spectra of all frames of a recording, float32 [frames, bins] each."""
    audio, example_samples = job.audio, job.segment.example_samples(job.audio)
    path = storage.join(job.input_dir, recording.name)
    blocks = files.read_blocks(path, audio.sample_rate)
    if not example_samples:
        yield from stft.map_chunks(stft.power, blocks, audio)
        return
    spectra = dataclasses.replace(audio, representation="log_stft", n_bins=0, log_floor=_LOG_FLOOR)
    for samples in shards.cut_samples(blocks, example_samples):
        padded = np.pad(samples, (0, example_samples - len(samples)))
        frames = representations.analyse([padded], spectra, job.segment.dtype).frames
        yield stft.log_to_power(frames, spectra)
