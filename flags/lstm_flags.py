"""The lstm family: size, regularisation, attention and output head."""

from absl import flags

from lstm_gen.models.lstm import config as lstm_config
from lstm_gen.models.lstm.config import LSTMConfig

_LAYERS = flags.DEFINE_integer("layers", LSTMConfig.layers, "LSTM layers.")
_UNITS = flags.DEFINE_integer("units", LSTMConfig.units, "Width of each layer.")
_RESIDUAL = flags.DEFINE_boolean(
    "residual", LSTMConfig.residual, "Add each layer's input to its output, from the second on."
)
_LAYER_NORM = flags.DEFINE_boolean(
    "layer_norm", LSTMConfig.layer_norm, "Normalise the input of each layer but the first."
)
_DROPOUT = flags.DEFINE_float(
    "dropout",
    LSTMConfig.dropout,
    "Share of each layer's outputs dropped in training; raise it only when validation turns up.",
)
_ATTENTION_WINDOW = flags.DEFINE_integer(
    "attention_window",
    LSTMConfig.attention_window,
    "Frames that causal self-attention between layers looks back over; 0 for no attention.",
)
_ATTENTION_HEADS = flags.DEFINE_integer(
    "attention_heads", LSTMConfig.attention_heads, "Heads of that attention; they divide --units."
)
_HEAD = flags.DEFINE_enum(
    "head",
    LSTMConfig.head,
    lstm_config.HEADS,
    "What is predicted: a mixture of Gaussians, or for comparison one Gaussian or the mean (mse), "
    "whose rollouts collapse into a drone.",
)
_COMPONENTS = flags.DEFINE_integer(
    "components", LSTMConfig.components, "Components of the mixture."
)
_SIGMA_FLOOR = flags.DEFINE_float(
    "sigma_floor",
    LSTMConfig.sigma_floor,
    "Smallest deviation of a component, where 1 is the deviation of a channel (or, normalised by "
    "min_max, half its range). Likelihoods compare only at the same floor.",
)
_INPUT_NOISE = flags.DEFINE_float(
    "input_noise",
    LSTMConfig.input_noise,
    "Largest share of noise mixed into a training sequence, 0 to 1; steadies long rollouts.",
)


def config() -> LSTMConfig:
    """Return the model asked for."""
    return LSTMConfig(
        layers=_LAYERS.value,
        units=_UNITS.value,
        residual=_RESIDUAL.value,
        layer_norm=_LAYER_NORM.value,
        dropout=_DROPOUT.value,
        attention_window=_ATTENTION_WINDOW.value,
        attention_heads=_ATTENTION_HEADS.value,
        head=_HEAD.value,
        components=_COMPONENTS.value,
        sigma_floor=_SIGMA_FLOOR.value,
        input_noise=_INPUT_NOISE.value,
    )
