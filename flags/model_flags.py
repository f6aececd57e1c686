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
from lstm_gen.models.base import Family

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
    models.FAMILIES[0].name,
    [family.name for family in models.FAMILIES],
    "; ".join(f"{family.name}: {family.summary}" for family in models.FAMILIES),
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


def family() -> Family:
    """Return the family asked for."""
    return models.by_name(_MODEL.value)


def config() -> Any:
    """Return that family's settings."""
    return MODULES[_MODEL.value].config()
