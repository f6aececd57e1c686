"""The contract that every model family fulfils; nothing outside a family's file knows its name.

A batch is a dictionary of tensors as `lstm_gen.data.pipeline` yields it:

    frames       float32 [batch, timesteps + shift, channels], normalised to mean 0, sd 1 per band
    weight       float32 [batch]; 1, or 0 for the padding of a last validation batch
    recording    int64 [batch], index of the recording in the manifest
    start_frame  int64 [batch], first frame of the window within its recording
    row          int64 [batch], where the window stands in the global batch, of which a device has
                 consecutive rows
    label/NAME   for each label of the dataset, as `data.labels.encode` has them: a class is int64
                 [batch], -1 if not known; a set float32 [batch, values]; a number float32 [batch]

Random draws are stateless (`layers/noise.py`): a seed is an int32 tensor of shape [3], whose last
value is the row of the first example; the same seed gives an example the same draw, eager or
compiled, on whatever device and beside whatever other examples.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """The shape of what a model reads and writes.

    Attributes:
      channels: Values per frame.
      timesteps: Input frames per training window.
      shift: Frames from an input frame to the frame it predicts.
    """

    channels: int
    timesteps: int
    shift: int


class Loss(NamedTuple):
    """What one objective says of a batch.

    Attributes:
      per_example: float32 [batch]; its weighted mean is what the optimizer lowers.
      metrics: Name to float32 [batch], logged as weighted means.
    """

    per_example: Any
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """One loss and the variables that it moves, with an optimizer of its own.

    Attributes:
      name: Names the loss in logs.
      loss: (batch, seed, training) -> Loss. Noise and dropout act only when training.
      variables: The trainable variables that it moves.
      metric_names: Keys of the metrics that `loss` returns.
    """

    name: str
    loss: Callable[[Batch, Any, bool], Loss]
    variables: list[Any]
    metric_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controls:
    """What a user may ask of generation.

    Attributes:
      n_songs: Songs to make at once.
      n_frames: Frames per song, primer not counted.
      seed: Run-wide seed; each song's draws depend on it and on the song's index only.
      first_song: Index of the first song, where others are made elsewhere.
      temperature: Mixture-weight temperature; below 1 favours the likeliest component.
      sigma_scale: Factor on the sampled deviation; 0 takes the mean.
    """

    n_songs: int
    n_frames: int
    seed: int = 0
    first_song: int = 0
    temperature: float = 1.0
    sigma_scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A model family.

    Attributes:
      name: The `--model` choice.
      summary: One line for help texts and tables.
      config_class: The frozen dataclass of its settings.
      build: (settings, signal) -> built keras.Model, which keeps its settings.
      objectives: (model, signal) -> what a training step lowers, in order.
      generate: (model, signal, controls, primer, progress) -> float32 numpy
        [n_songs, n_frames, channels], normalised. `primer` is float32 [n_songs, frames, channels],
        normalised; `progress` is called with the number of frames done since the last call.
      generate_in_graph: (model, signal, primer, n_frames, seed, scales) -> float32 tensor
        [1, n_frames, channels], normalised: the song 0 of `generate` in TensorFlow operations, to
        be traced inside `distribute.portable()`. `primer` is [1, frames, channels] of at least one
        frame; `n_frames` and `seed` are int32 scalars, `scales` temperature and sigma_scale.
        None if the family cannot be exported.
      predict: (model, signal, batch) -> the expected frames, float32
        [batch, timesteps, channels], for the pictures that a run logs.
    """

    name: str
    summary: str
    config_class: type
    build: Callable[[Any, Signal], Any]
    objectives: Callable[[Any, Signal], tuple[Objective, ...]]
    generate: Callable[[Any, Signal, Controls, Any, Callable[[int], None]], Any]
    predict: Callable[[Any, Signal, Batch], Any]
    generate_in_graph: Callable[[Any, Signal, Any, Any, Any, tuple[Any, Any]], Any] | None = None
