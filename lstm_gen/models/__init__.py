"""The model families, in the order of help texts and tables. No TensorFlow until one is needed."""

from typing import TYPE_CHECKING, Any

from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.notes.config import GANConfig, NoteVAEConfig
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig
from lstm_gen.platform import errors

if TYPE_CHECKING:
    from lstm_gen.models import base

    Family = base.Family

CONFIGS: tuple[type[Any], ...] = (
    LSTMConfig,
    AutoencoderConfig,
    VAEConfig,
    WaveformVAEConfig,
    GANConfig,
    NoteVAEConfig,
)
NAMES: tuple[str, ...] = tuple(one.family for one in CONFIGS)


def config_class(name: str) -> type[Any]:
    """Return the frozen dataclass of a family's settings.

    Raises:
      InputError: If there is no such family, naming those that there are.
    """
    errors.require_choice("model", name, NAMES)
    return CONFIGS[NAMES.index(name)]


def families() -> "tuple[Family, ...]":
    """Return every family; imports TensorFlow."""
    from lstm_gen.models.autoencoder import model as autoencoder
    from lstm_gen.models.lstm import model as lstm
    from lstm_gen.models.notes import gan, note_vae
    from lstm_gen.models.vae import model as vae
    from lstm_gen.models.waveform_vae import model as waveform_vae

    modules = (lstm, autoencoder, vae, waveform_vae, gan, note_vae)
    return tuple(module.FAMILY for module in modules)


def by_name(name: str) -> "Family":
    """Return the family of that name; imports TensorFlow.

    Raises:
      InputError: If there is none, naming those that there are.
    """
    errors.require_choice("model", name, NAMES)
    return families()[NAMES.index(name)]
