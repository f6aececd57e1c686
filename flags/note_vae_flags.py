"""The note_vae family: the weight of its divergence; what it shares with gan is of `gan_flags`."""

from absl import flags

from flags import gan_flags, pitch_flags
from lstm_gen.models.notes.config import NoteVAEConfig

_DIVERGENCE = flags.DEFINE_float(
    "divergence",
    NoteVAEConfig.divergence,
    "Weight of the latents' divergence from the standard normal: more of it, and notes of the same "
    "labels become alike.",
)


def config() -> NoteVAEConfig:
    """Return the model asked for."""
    return NoteVAEConfig(
        noise_size=gan_flags.noise_size(),
        width=gan_flags.width(),
        divergence=_DIVERGENCE.value,
        pitch_label=pitch_flags.pitch_label(),
    )
