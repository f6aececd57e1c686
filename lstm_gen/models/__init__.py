"""Registry of the model families, in the order of help texts. TensorFlow is imported on demand."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.notes.config import GANConfig, NoteVAEConfig
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig
from lstm_gen.platform import errors

if TYPE_CHECKING:
    from lstm_gen.models import base

    ModelClass = type[base.AudioModel]
    Predicate = Callable[[ModelClass], bool]

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


def classes() -> "tuple[ModelClass, ...]":
    """Return the model class of every family; imports TensorFlow."""
    from lstm_gen.models.autoencoder.model import Autoencoder
    from lstm_gen.models.lstm.model import LSTMModel
    from lstm_gen.models.notes.gan import GAN
    from lstm_gen.models.notes.note_vae import NoteVAE
    from lstm_gen.models.vae.model import VAE
    from lstm_gen.models.waveform_vae.model import WaveformVAE

    return (LSTMModel, Autoencoder, VAE, WaveformVAE, GAN, NoteVAE)


def by_name(name: str) -> "ModelClass":
    """Return the model class of a family; imports TensorFlow.

    Raises:
      InputError: If there is no such family, naming those that there are.
    """
    errors.require_choice("model", name, NAMES)
    return classes()[NAMES.index(name)]


def names_with(supported: "Predicate") -> str:
    """Return the names of the families with a capability, for messages; imports TensorFlow."""
    return ", ".join(one.config_class.family for one in classes() if supported(one)) or "none yet"
