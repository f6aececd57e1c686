"""Which model family."""

from typing import Any

from absl import flags

from flags import (
    autoencoder_flags,
    gan_flags,
    lstm_flags,
    note_vae_flags,
    vae_flags,
    waveform_vae_flags,
)
from lstm_gen import models

MODULES = {
    "lstm": lstm_flags,
    "autoencoder": autoencoder_flags,
    "vae": vae_flags,
    "waveform_vae": waveform_vae_flags,
    "gan": gan_flags,
    "note_vae": note_vae_flags,
}

_MODEL = flags.DEFINE_enum(
    "model",
    models.NAMES[0],
    models.NAMES,
    "; ".join(f"{one.family}: {one.summary}" for one in models.CONFIGS),
)
_CONDITION = flags.DEFINE_string(
    "condition",
    "",
    "Labels of the dataset that the model is told, separated by commas, as in "
    "--condition=pitch,instrument; generate_songs.py --label pitch=60 then asks for them.",
)


def condition() -> tuple[str, ...]:
    """Return the names of the labels that the model is told, sorted."""
    return tuple(sorted({name.strip() for name in _CONDITION.value.split(",") if name.strip()}))


def family() -> Any:
    """Return the family asked for."""
    return models.by_name(_MODEL.value)


def config() -> Any:
    """Return that family's settings."""
    return MODULES[_MODEL.value].config()
