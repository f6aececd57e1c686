"""Settings of the lstm family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

HEADS = ("mixture", "gaussian", "mse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMConfig(fields.Settings):
    """Model lstm."""

    family: ClassVar[str] = "lstm"
    summary: ClassVar[str] = (
        "stacked causal LSTM with a mixture-density head, rolled forward frame by frame"
    )
    priors: ClassVar[tuple[str, ...]] = ()

    layers: int = fields.setting(2, "LSTM layers.", at_least=1, at_most=100)
    units: int = fields.setting(512, "Units of each layer.", at_least=1)
    residual: bool = fields.setting(
        True, "Add each layer's input to its output, from the second layer on."
    )
    layer_norm: bool = fields.setting(
        True, "Normalise the input of each layer but the first, and of the head."
    )
    dropout: float = fields.setting(
        0.0,
        "Fraction of each layer's outputs dropped in training; raise it only when validation "
        "losses rise.",
        at_least=0,
        below=1,
    )
    attention_window: int = fields.setting(
        0,
        "Frames that causal self-attention between the layers looks back over.",
        unit="frames",
        at_least=0,
        zero="no attention",
    )
    attention_heads: int = fields.setting(
        4, "Heads of the attention, a divisor of units.", at_least=1
    )
    head: str = fields.setting(
        "mixture",
        "Predicted distribution of the next frame: a mixture of Gaussians, or for comparison one "
        "Gaussian or the mean alone (mse), whose rollouts collapse into a drone.",
        choices=HEADS,
    )
    components: int = fields.setting(10, "Components of the mixture.", at_least=1)
    sigma_floor: float = fields.setting(
        0.05,
        "Smallest deviation of a component, in deviations of a channel (with "
        "normalisation=min_max, in half ranges); without it the likelihood has no bound. "
        "Likelihoods compare only at the same floor.",
        above=0,
    )
    input_noise: float = fields.setting(
        0.15,
        "Largest fraction of noise mixed into a training sequence; it stabilises long rollouts.",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Raise InputError if there is no place for the attention, or its heads do not fit."""
        errors.require(
            self.attention_window == 0 or self.layers > 1,
            "attention is placed between layers; use layers=2 or more, or attention_window=0",
            attention_window=self.attention_window,
            layers=self.layers,
        )
        errors.require(
            self.attention_window == 0 or self.units % self.attention_heads == 0,
            "attention_heads must divide units",
            attention_heads=self.attention_heads,
            units=self.units,
        )
