"""Windows: what the model sees at once."""

from absl import flags

from lstm_gen.config.training import WindowConfig

_TIMESTEPS = flags.DEFINE_integer(
    "timesteps", WindowConfig.timesteps, "Input frames per window (43 a second by default)."
)
_SHIFT = flags.DEFINE_integer(
    "shift",
    WindowConfig.shift,
    "Frames ahead that are predicted; 1 is the next frame. Models that predict nothing ignore it.",
)
_WINDOW_HOP = flags.DEFINE_integer(
    "window_hop",
    WindowConfig.window_hop,
    "Frames from one training window to the next; 0 for windows that touch. Where the first one "
    "starts is drawn anew each epoch.",
)


def config(predicts: bool = True) -> WindowConfig:
    """Return the windows asked for, by a model that predicts what comes or one that does not."""
    return WindowConfig(
        timesteps=_TIMESTEPS.value,
        shift=_SHIFT.value if predicts else 0,
        window_hop=_WINDOW_HOP.value,
    )
