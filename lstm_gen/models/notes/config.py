"""Settings of the families of notes: gan and note_vae."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteConfig(fields.Settings):
    """Models of notes."""

    noise_size: int = fields.setting(
        16,
        "Values of the noise, or of the latent, that a note is generated from.",
        at_least=1,
    )
    width: int = fields.setting(
        64,
        "Channels in the middle of the generator, a multiple of 4; all others are in proportion.",
        at_least=4,
        flag="note_width",
    )
    pitch_label: str = fields.like(GenerationConfig, "pitch_label")

    def check(self) -> None:
        """Raise InputError if channels cannot be divided."""
        errors.require(
            self.width % 4 == 0, "note_width must be a multiple of 4", note_width=self.width
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GANConfig(NoteConfig):
    """Model gan."""

    family: ClassVar[str] = "gan"
    summary: ClassVar[str] = (
        "adversarial pair over note-length spectrograms with phase, pitch encoded as harmonics"
    )
    priors: ClassVar[tuple[str, ...]] = ()
    removed: ClassVar[Mapping[str, str]] = {"loss": "non_saturating"}

    r1: float = fields.setting(
        1.0,
        "Weight of the penalty on the discriminator's gradient at real examples (R1).",
        at_least=0,
        zero="off",
    )
    vary_db: float = fields.setting(
        3.0,
        "Largest random gain of real and generated examples before the discriminator.",
        unit="dB",
        at_least=0,
        zero="off",
    )
    vary_frames: int = fields.setting(
        1,
        "Largest random shift in time of real and generated examples before the discriminator.",
        unit="frames",
        at_least=0,
        zero="off",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteVAEConfig(NoteConfig):
    """Model note_vae."""

    family: ClassVar[str] = "note_vae"
    summary: ClassVar[str] = (
        "variational autoencoder of notes with phase, pitch encoded as harmonics"
    )
    priors: ClassVar[tuple[str, ...]] = ("gaussian", "standard")

    divergence: float = fields.setting(
        3e-4,
        "Weight of the KL divergence of the latents from the standard normal; with more of it, "
        "notes of the same labels sound more similar.",
        at_least=0,
    )
