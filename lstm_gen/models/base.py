"""The contract that every model family fulfils; nothing outside a family's file knows its name.

A batch is a dictionary of tensors as `lstm_gen.dataset.input.pipeline` yields it:

    frames       float32 [batch, timesteps + shift, channels], normalised to mean 0, sd 1 per band
    weight       float32 [batch]; 1, or 0 for the padding of a last validation batch
    recording    int64 [batch], index of the recording in the manifest
    start_frame  int64 [batch], first frame of the window within its recording
    row          int64 [batch], where the window stands in the global batch, of which a device has
                 consecutive rows
    progress     float32 scalar, the share of the training's steps that are done; only in training
    label/NAME   for each label of the dataset, as `data.labels.encode` has them: a class is int64
                 [batch], -1 if not known; a set float32 [batch, values]; a number float32 [batch]

Random draws are stateless (`layers/noise.py`): a seed is an int32 tensor of shape [3], whose last
value is the row of the first example; the same seed gives an example the same draw, eager or
compiled, on whatever device and beside whatever other examples.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import REPRESENTATIONS, AudioConfig

Batch = Mapping[str, Any]
Examples = Callable[[], Iterator[Batch]]
"""One pass over the training windows, in numpy; the last batch may hold windows of weight 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """A label that a model is told, or may tell classes of.

    Attributes:
      name: Of the label; a batch holds it as `label/NAME`.
      kind: "class", "multi" or "number".
      n_values: Classes, or values of a set; 0 for a number.
      values: Their names, in order, where they are known.
      minimum: Smallest number that occurs; 0 for the others.
      maximum: Largest.
    """

    name: str
    kind: str
    n_values: int = 0
    values: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal:
    """What a model reads and writes.

    Attributes:
      audio: How frames were made of sound.
      timesteps: Input frames per training window.
      shift: Frames from an input frame to the frame it predicts; 0 for families that do not
        predict.
      statistics: How frames were normalised; None where no dataset is at hand (shapes are the
        same), for mean 0 and deviation 1.
      conditions: The labels that the model is told of each example.
      classes: Those labels of the dataset, told or not, that name one of several classes.
    """

    audio: AudioConfig
    timesteps: int
    shift: int
    statistics: normalisation.Normalisation | None = dataclasses.field(default=None, compare=False)
    conditions: tuple[Condition, ...] = ()
    classes: tuple[Condition, ...] = ()

    @property
    def channels(self) -> int:
        """Values per frame."""
        return self.audio.channels

    @property
    def mean(self) -> np.ndarray:
        """What was taken from each channel, float32 [channels]."""
        return self.statistics.mean if self.statistics else np.zeros(self.channels, np.float32)

    @property
    def std(self) -> np.ndarray:
        """What each channel was divided by, float32 [channels]."""
        return self.statistics.std if self.statistics else np.ones(self.channels, np.float32)


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
      saturation: Metric (or NAME_loss) to its value for a model that knows nothing, and the value
        at which it has nothing more to say: people are warned when it has gone 95 % of that way.
      momentum: Share of the running average of gradients that a step keeps, Adam's beta_1; players
        of a game, whose loss changes under them, do better with none.
      plain: Whether XLA compiles its step as a whole wherever there is one device: no layer has
        kernels of its own, and `benchmarks.families` has it faster so.
    """

    name: str
    loss: Callable[[Batch, Any, bool], Loss]
    variables: list[Any]
    metric_names: tuple[str, ...]
    saturation: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    momentum: float = 0.9
    plain: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controls:
    """What a user may ask of generation.

    Attributes:
      n_songs: Songs to make at once.
      n_frames: Frames per song, primer not counted.
      seed: Run-wide seed; each song's draws depend on it and on the song's index only.
      first_song: Index of the first song, where others are made elsewhere.
      temperature: How far draws go from what is likeliest; 1 as learned.
      sigma_scale: Factor on the sampled deviation of frames; 0 takes the mean.
      prior: What latents are drawn from, one of the family's `priors`; "" for the first of them.
      labels: What the songs are to be, for each of the signal's conditions: "label/NAME" to an
        array of n_songs rows, as a batch has it; what is between classes is float32
        [n_songs, classes], how much it is of each.
      alike: Whether all songs are made of the draw of song 0, so that they differ in labels alone.
    """

    n_songs: int
    n_frames: int
    seed: int = 0
    first_song: int = 0
    temperature: float = 1.0
    sigma_scale: float = 1.0
    prior: str = ""
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alike: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coder:
    """Frames to latents and back, for what is shared: reconstruction, interpolation and the like.

    Attributes:
      encode: (model, signal, frames, labels) -> latents, float32 numpy [examples, steps, size],
        the likeliest ones. `frames` is float32 [examples, frames, channels], normalised, of any
        length; `labels` is "label/NAME" to an array with a row for each example.
      decode: (model, signal, latents, n_frames, labels) -> frames, float32 numpy
        [examples, n_frames, channels], normalised.
      spread: (model) -> deviation of each latent over the training split, float32 [size].
      class_means: (model) -> label's name to the mean latent of each of its classes, float32
        [classes, size], for every one of the signal's `classes`.
    """

    encode: Callable[[Any, Signal, Any, Mapping[str, Any]], np.ndarray]
    decode: Callable[[Any, Signal, Any, int, Mapping[str, Any]], np.ndarray]
    spread: Callable[[Any], np.ndarray]
    class_means: Callable[[Any], Mapping[str, np.ndarray]]


CONTROLS = ("primer", "temperature", "sigma_scale", "prior", "reconstruct", "between")
"""What a family may honour beside the number, length and seed of songs; reconstruction brings
interpolation, perturbation and transfer between classes with it. `between` is a way from one value
of a label to another: songs `alike`, and labels that are part of one class and part of another."""


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
        normalised (no frames where "primer" is not among the controls); `progress` is called with
        the number of frames done since the last call.
      generate_in_graph: (model, signal, primer, n_frames, seed, scales) -> float32 tensor
        [1, n_frames, channels], normalised: the song 0 of `generate` in TensorFlow operations, to
        be traced inside `distribute.portable()`. `primer` is [1, frames, channels] of at least one
        frame; `n_frames` and `seed` are int32 scalars, `scales` temperature and sigma_scale.
        None if the family cannot be exported.
      predict: (model, signal, batch) -> the expected frames, float32
        [batch, timesteps, channels], for the pictures that a run logs: those ahead, or where
        nothing is predicted the same again.
      representations: Those that it can model.
      controls: Those of `CONTROLS` that it honours.
      priors: What latents can be drawn from, the default first.
      predicts: Whether targets are inputs `shift` frames later; else shift is 0.
      conditional: Whether it can be told labels.
      competes: Whether its objectives are those of players: what one loses another wins, so no
        loss has to fall, and the last weights, not those of the lowest loss, are the ones to keep.
      initialise: (model, signal, examples) -> None. Sets weights from data before step 1; None for
        nothing.
      fit: (model, signal, examples) -> None. Sets what is fitted to a trained model, all of it in
        variables that do not train: priors, means of classes. None for nothing.
      coder: Frames to latents and back; None if it has no latents.
    """

    name: str
    summary: str
    config_class: type
    build: Callable[[Any, Signal], Any]
    objectives: Callable[[Any, Signal], tuple[Objective, ...]]
    generate: Callable[[Any, Signal, Controls, Any, Callable[[int], None]], Any]
    predict: Callable[[Any, Signal, Batch], Any]
    representations: tuple[str, ...] = REPRESENTATIONS
    controls: frozenset[str] = frozenset()
    priors: tuple[str, ...] = ()
    predicts: bool = False
    conditional: bool = False
    competes: bool = False
    initialise: Callable[[Any, Signal, Examples], None] | None = None
    fit: Callable[[Any, Signal, Examples], None] | None = None
    coder: Coder | None = None
    generate_in_graph: Callable[[Any, Signal, Any, Any, Any, tuple[Any, Any]], Any] | None = None
