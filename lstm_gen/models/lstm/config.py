"""Settings of the lstm family."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

HEADS = ("energy", "mixture", "gaussian", "mse")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTMConfig(fields.Settings):
    """Model lstm."""

    family: ClassVar[str] = "lstm"
    summary: ClassVar[str] = (
        "stacked causal LSTM that continues music patch by patch, a patch a few frames"
    )
    priors: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[Mapping[str, Any]] = {
        "patch_frames": 1,
        "patch_components": 0,
        "stored_patches": 0,
        "level_servo": False,
    }

    patch_frames: int = fields.setting(
        4,
        "Frames of a patch, which is one step of the model: patches span more time with fewer "
        "steps. timesteps and shift are multiples of it.",
        unit="frames",
        at_least=1,
    )
    patch_components: int = fields.setting(
        128,
        "Principal components that a patch is coded by.",
        at_least=0,
        zero="none: the frame itself, with patch_frames=1",
    )
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
        "energy",
        "Predicted distribution of the next patch. energy: samples, all values drawn together, "
        "trained by the energy score. For comparison mixture: a mixture of Gaussians; gaussian: "
        "one; mse: the mean alone, whose rollouts collapse into a drone.",
        choices=HEADS,
    )
    noise_size: int = fields.setting(64, "Normal draws of a sample, head=energy.", at_least=1)
    head_blocks: int = fields.setting(3, "Residual blocks of head=energy.", at_least=0)
    stored_patches: int = fields.setting(
        16384,
        "Training patches stored with the weights, towards which --neighbour_weight moves the "
        "patches of songs.",
        at_least=0,
        zero="none",
    )
    level_servo: bool = fields.setting(
        True,
        "Return songs slowly to the levels of the training recordings where they leave them.",
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
        """Raise InputError if patches have no code, or the attention no place or unequal heads."""
        errors.require(
            self.patch_frames == 1 or self.patch_components > 0,
            "patches of several frames need patch_components of 1 or more",
            patch_frames=self.patch_frames,
            patch_components=self.patch_components,
        )
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
