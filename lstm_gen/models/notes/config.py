"""Settings of the families of notes: gan and note_vae."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteConfig:
    """What the settings of every family of makers begin with.

    Attributes:
      noise_size: Values of the noise that an example is made of.
      width: Channels of the generator's middle; all others are in proportion.
      pitch_label: The label that is a pitch as a MIDI note number, if it is among those told.
    """

    noise_size: int = 16
    width: int = 64
    pitch_label: str = "pitch"

    def __post_init__(self) -> None:
        fields.require_least(self, 1, "noise_size")
        errors.require(
            self.width >= 4 and self.width % 4 == 0,
            "width must be a multiple of 4",
            width=self.width,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GANConfig(NoteConfig):
    """The game and its players; see `note_maker.Settings` too.

    Attributes:
      r1: Weight of the penalty on the discriminator's gradient; 0 for none.
      vary_db: Most that both real and made examples are made louder or quieter before the
        discriminator sees them, dB; 0 for off.
      vary_frames: Most that they are moved in time, frames; 0 for off.
    """

    family: ClassVar[str] = "gan"
    summary: ClassVar[str] = (
        "adversarial pair over note-length spectrograms with phase, pitch encoded as harmonics"
    )
    priors: ClassVar[tuple[str, ...]] = ()
    removed: ClassVar[Mapping[str, str]] = {"loss": "non_saturating"}

    r1: float = 1.0
    vary_db: float = 3.0
    vary_frames: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.require_sign(self, "r1", "vary_db", zero=True)
        fields.require_least(self, 0, "vary_frames")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteVAEConfig(NoteConfig):
    """Size and loss of the model; see `note_maker.Settings` too, whose noise is the latent here.

    Attributes:
      divergence: Weight of the divergence from the standard normal, of which the errors, some
        hundredths, are to be a multiple.
    """

    family: ClassVar[str] = "note_vae"
    summary: ClassVar[str] = (
        "variational autoencoder of notes with phase, pitch encoded as harmonics"
    )
    priors: ClassVar[tuple[str, ...]] = ("gaussian", "standard")

    divergence: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.require_sign(self, "divergence", zero=True)
