"""Base class and shared types of the model families.

A batch is a dictionary of tensors, as `lstm_gen.dataset.input.pipeline` yields it:

    frames       float32 [batch, timesteps + shift, channels], normalised to mean 0, sd 1 per band
    weight       float32 [batch]; 1, or 0 for the padding of a last validation batch
    recording    int64 [batch], content id of the recording
    start_frame  int64 [batch], first frame of the window within its recording
    row          int64 [batch], index within the global batch; a device has consecutive rows
    progress     float32 scalar, fraction of the training steps done; only in training
    label/NAME   for each label of the dataset, as `dataset.format.labels` encodes them: a class
                 int64 [batch], -1 if unknown; a set float32 [batch, values]; a number
                 float32 [batch], NaN if unknown

Random draws are stateless (`models.common.rng`): a seed is an int32 tensor [3] whose last value is
the row of the first example. The same seed gives an example the same draw, eager or compiled, on
any device and in any batch.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import keras
import numpy as np

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import REPRESENTATIONS, AudioConfig

_Model = TypeVar("_Model", bound="AudioModel")

Batch = Mapping[str, Any]
Examples = Callable[[], Iterator[Batch]]
"""One pass over the training windows, in NumPy; the last batch may hold windows of weight 0."""
Progress = Callable[[int], None]
"""Called with the number of frames done since the last call."""

CONTROLS = (
    "primer",
    "temperature",
    "sigma_scale",
    "neighbour_weight",
    "prior",
    "reconstruct",
    "between",
)
"""Requests that a family may support beside the number, length and seed of songs. `reconstruct`
includes interpolation, perturbation and transfer between classes; `between` is interpolation
between two values of a label, with the noise shared by all songs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """A conditioning label.

    Attributes:
      name: Name of the label; a batch holds it as `label/NAME`.
      kind: "class", "multi" or "number".
      n_values: Number of classes, or of values of a set; 0 for a number.
      values: Their names, in order, where they are known.
      minimum: Smallest number in the dataset; 0 for other kinds.
      maximum: Largest number in the dataset; 0 for other kinds.
    """

    name: str
    kind: str
    n_values: int = 0
    values: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameSpec:
    """Shape, normalisation and labels of a model's frames.

    Attributes:
      audio: Audio settings of the frames.
      timesteps: Input frames per training window.
      shift: Frames from an input to its target; 0 for families that do not predict.
      statistics: Mean and deviation of each channel; None, as for a model that is only compiled,
        stands for 0 and 1.
      conditions: Labels that the model is conditioned on.
      classes: Labels of the dataset with one of several classes, conditioning labels or not.
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
        """Mean of each channel before normalisation, float32 [channels]."""
        return self.statistics.mean if self.statistics else np.zeros(self.channels, np.float32)

    @property
    def std(self) -> np.ndarray:
        """Deviation of each channel before normalisation, float32 [channels]."""
        return self.statistics.std if self.statistics else np.ones(self.channels, np.float32)


class Loss(NamedTuple):
    """Loss and metrics of a batch.

    Attributes:
      per_example: float32 [batch]; the optimizer minimises the weighted mean.
      metrics: Name to float32 [batch], logged as weighted means.
    """

    per_example: Any
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """A loss and the variables that minimise it, with an optimizer of its own.

    Attributes:
      name: Prefix of the loss in logs.
      loss: (batch, seed, training) -> Loss. Noise and dropout act only in training.
      variables: The trainable variables that its gradient updates.
      metric_names: Keys of the metrics that `loss` returns.
      loss_metric: Metric that equals the loss in validation by definition; it is reported in the
        loss's place. "" for none.
      saturation: Metric (or NAME_loss) to its value for an untrained model and its value at
        saturation; a warning appears when 95 % of the way is done.
      momentum: Adam's beta_1; adversarial losses train better with 0.
      jit_compile: Whether XLA compiles the whole step on a single device: no layer has kernels of
        its own, and `benchmarks.families` measures it as faster.
    """

    name: str
    loss: Callable[[Batch, Any, bool], Loss]
    variables: list[Any]
    metric_names: tuple[str, ...]
    loss_metric: str = ""
    saturation: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    momentum: float = 0.9
    jit_compile: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling settings.

    Attributes:
      temperature: Factor on the randomness of draws; 1 as learned.
      sigma_scale: Factor on the sampled deviation of frames; 0 takes the mean.
      neighbour_weight: Fraction of the way that samples are moved to their nearest neighbours among
        stored training data.
    """

    temperature: float = 1.0
    sigma_scale: float = 1.0
    neighbour_weight: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Number, length, seed and sampling settings of the songs that a model generates.

    Attributes:
      n_songs: Songs to generate as one batch.
      n_frames: Frames per song, without the primer.
      seed: Seed of the run; a song's draws depend on it and on the song's index only.
      first_song: Index of the first song, where others are generated elsewhere.
      sampling: Sampling settings.
      prior: Prior of the latents, one of the family's `priors`; "" for the default.
      labels: Conditioning labels: "label/NAME" to an array of n_songs rows, as in a batch; a
        mixture of classes is float32 [n_songs, classes], the fraction of each.
      share_noise: Whether all songs have the noise of song 0 and so differ in their labels alone.
    """

    n_songs: int
    n_frames: int
    seed: int = 0
    first_song: int = 0
    sampling: Sampling = Sampling()
    prior: str = ""
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    share_noise: bool = False


class AudioModel(keras.Model):
    """Base class of the model families.

    The name, a summary and the priors of a family are attributes of its `config_class`, which
    needs no TensorFlow. `models.latents.latent_model.LatentModel` is the base class of families
    with latents.

    Attributes:
      config_class: Frozen dataclass of the settings.
      representations: Representations that the family can model.
      controls: Those of `CONTROLS` that generation supports.
      predicts: Whether targets are inputs `shift` frames later; else shift is 0.
      conditional: Whether the model can be conditioned on labels.
      adversarial: Whether the objectives oppose each other: no loss has to fall, and the last
        weights are kept, not those of the lowest loss.
      exportable: Whether `generate_in_graph` is implemented.
      fitted: Name of the quantities that `fit_data` fits, for messages; "" for none.
      config: The settings, an instance of `config_class`.
      spec: The frame spec.
    """

    config_class: ClassVar[type[Any]]
    representations: ClassVar[tuple[str, ...]] = REPRESENTATIONS
    controls: ClassVar[frozenset[str]] = frozenset()
    predicts: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    adversarial: ClassVar[bool] = False
    exportable: ClassVar[bool] = False
    fitted: ClassVar[str] = ""

    config: Any
    spec: FrameSpec

    def __init__(self, config: Any, spec: FrameSpec) -> None:
        super().__init__(name=config.family)
        self.config, self.spec = config, spec

    @classmethod
    def target_shift(cls, config: Any, shift: int) -> int:
        """Return the frames from an input to its target.

        Args:
          config: The settings, an instance of `config_class`.
          shift: The number requested, or 0 for one step of the model.
        """
        del config
        return (shift or 1) if cls.predicts else 0

    @classmethod
    def create(cls: type[_Model], config: Any, spec: FrameSpec) -> _Model:
        """Return a model with its weights created."""
        model = cls(config, spec)
        model.build()
        return model

    def build(self, input_shape: Any = None) -> None:
        """Create every layer's weights; the shapes are those of the frame spec."""
        del input_shape
        self.build_layers()

    def build_layers(self) -> None:
        """Create every layer's weights, always in the same order."""
        raise NotImplementedError

    def initialise(self, examples: Examples) -> None:
        """Set weights from data before step 1."""

    def objectives(self) -> tuple[Objective, ...]:
        """Return the objectives of a training step, in order."""
        raise NotImplementedError

    def fit_data(self, examples: Examples) -> None:
        """Fit priors, means of classes or bounds to the training windows, after training.

        Fitted values are variables that do not train.
        """

    def predict_frames(self, batch: Batch) -> Any:
        """Return predicted, or reconstructed, frames, float32 [batch, timesteps, channels]."""
        raise NotImplementedError

    def generate(self, request: GenerationRequest, primer: Any, progress: Progress) -> np.ndarray:
        """Return songs, normalised, float32 [n_songs, n_frames, channels].

        Args:
          request: The songs to generate.
          primer: float32 [n_songs, frames, channels], normalised; unused unless "primer" is among
            the family's controls.
          progress: Called with the frames done since the last call.
        """
        raise NotImplementedError

    def generate_in_graph(
        self, primer: Any, n_frames: Any, seed: Any, sampling: tuple[Any, Any, Any]
    ) -> Any:
        """Return song 0 of `generate` in TensorFlow operations, float32 [1, n_frames, channels].

        It is traced inside `platform.devices.portable()`.

        Args:
          primer: float32 [1, frames, channels] of at least one frame, normalised.
          n_frames: int32 scalar.
          seed: int32 scalar.
          sampling: Temperature, sigma_scale and neighbour_weight.
        """
        raise NotImplementedError

    def trainable_values(self) -> list[Any]:
        """Return the backend variables that train, as an objective lists them."""
        return [variable.value for variable in self.trainable_variables]
