"""The gan family: the game, its players, the label that is a pitch; note_vae shares some."""

from absl import flags

from flags import pitch_flags
from lstm_gen.models.notes.config import GANConfig

_NOISE_SIZE = flags.DEFINE_integer(
    "noise_size", GANConfig.noise_size, "Values that a note of gan or note_vae is made of."
)
_WIDTH = flags.DEFINE_integer(
    "note_width",
    GANConfig.width,
    "Channels of gan and note_vae, in proportion; a multiple of 4.",
)
_R1 = flags.DEFINE_float(
    "r1", GANConfig.r1, "Penalty on the discriminator's gradient at real examples; 0 for none."
)
_VARY_DB = flags.DEFINE_float(
    "vary_db",
    GANConfig.vary_db,
    "Real and made examples are shown up to this much louder or quieter, dB; 0 for off.",
)
_VARY_FRAMES = flags.DEFINE_integer(
    "vary_frames",
    GANConfig.vary_frames,
    "Real and made examples are shown moved in time by up to so many frames; 0 for off.",
)


def noise_size() -> int:
    """Return the values of the noise of an example."""
    return int(_NOISE_SIZE.value)


def width() -> int:
    """Return the channels of a note's model."""
    return int(_WIDTH.value)


def config() -> GANConfig:
    """Return the model asked for."""
    return GANConfig(
        noise_size=_NOISE_SIZE.value,
        width=_WIDTH.value,
        r1=_R1.value,
        vary_db=_VARY_DB.value,
        vary_frames=_VARY_FRAMES.value,
        pitch_label=pitch_flags.pitch_label(),
    )
