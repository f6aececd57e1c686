"""The model families, in the order that help texts and tables show them."""

from lstm_gen.models import base
from lstm_gen.models.autoencoder import model as autoencoder
from lstm_gen.models.lstm import model as lstm
from lstm_gen.models.notes import gan, note_vae
from lstm_gen.models.vae import model as vae
from lstm_gen.models.waveform_vae import model as waveform_vae
from lstm_gen.platform import errors

FAMILIES: tuple[base.Family, ...] = (
    lstm.FAMILY,
    autoencoder.FAMILY,
    vae.FAMILY,
    waveform_vae.FAMILY,
    gan.FAMILY,
    note_vae.FAMILY,
)


def by_name(name: str) -> base.Family:
    """Return the family of that name.

    Raises:
      InputError: If there is none, naming those that there are.
    """
    for candidate in FAMILIES:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in FAMILIES)
    raise errors.InputError(f"model must be one of: {names}. Received: model={name!r}")
