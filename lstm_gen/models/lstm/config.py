"""Settings of the lstm family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

HEADS = ("mixture", "gaussian", "mse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMConfig:
    """Size and head of the model.

    Attributes:
      layers: LSTM layers.
      units: Width of each.
      residual: Add each layer's input to its output, from the second layer on.
      layer_norm: Normalise each layer's input from the second on, and the head's.
      dropout: Share of each layer's outputs dropped in training.
      attention_window: Frames that self-attention between layers looks back over; 0 for none.
      attention_heads: Heads of that attention; where there is any, they divide `units`.
      head: "mixture", or for comparison "gaussian" or "mse".
      components: Components of the mixture.
      sigma_floor: Smallest deviation of a component, as a share of what normalisation made 1.
      input_noise: Largest share of noise mixed into a training sequence, 0 to 1.
    """

    family: ClassVar[str] = "lstm"
    summary: ClassVar[str] = (
        "stacked causal LSTM with a mixture-density head, rolled forward frame by frame"
    )
    priors: ClassVar[tuple[str, ...]] = ()

    layers: int = 2
    units: int = 512
    residual: bool = True
    layer_norm: bool = True
    dropout: float = 0.0
    attention_window: int = 0
    attention_heads: int = 4
    head: str = "mixture"
    components: int = 10
    sigma_floor: float = 0.05
    input_noise: float = 0.15

    def __post_init__(self) -> None:
        errors.require(1 <= self.layers <= 100, "layers must be from 1 to 100", layers=self.layers)
        fields.require_least(self, 1, "units", "components", "attention_heads")
        fields.require_share(self, "dropout", "input_noise")
        errors.require(
            self.attention_window >= 0,
            "attention_window must be 0 (off) or positive, in frames",
            attention_window=self.attention_window,
        )
        errors.require(
            self.attention_window == 0 or self.layers > 1,
            "attention stands between layers; use layers=2 or more, or attention_window=0",
            attention_window=self.attention_window,
            layers=self.layers,
        )
        errors.require(
            self.attention_window == 0 or self.units % self.attention_heads == 0,
            "attention_heads must divide units",
            attention_heads=self.attention_heads,
            units=self.units,
        )
        errors.require_choice("head", self.head, HEADS)
        errors.require(
            self.sigma_floor > 0,
            "sigma_floor must be positive, or the likelihood has no bound",
            sigma_floor=self.sigma_floor,
        )
