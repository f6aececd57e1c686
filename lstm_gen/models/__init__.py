"""Registry of the model families, in the order of help texts. TensorFlow is imported on demand."""

import importlib
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

# A family's settings, and where its class is: imported on demand, one family at a time.
_FAMILIES: dict[type[Any], tuple[str, str]] = {
    LSTMConfig: ("lstm_gen.models.lstm.model", "LSTMModel"),
    AutoencoderConfig: ("lstm_gen.models.autoencoder.model", "Autoencoder"),
    VAEConfig: ("lstm_gen.models.vae.model", "VAE"),
    WaveformVAEConfig: ("lstm_gen.models.waveform_vae.model", "WaveformVAE"),
    GANConfig: ("lstm_gen.models.notes.gan", "GAN"),
    NoteVAEConfig: ("lstm_gen.models.notes.note_vae", "NoteVAE"),
}
CONFIGS: tuple[type[Any], ...] = tuple(_FAMILIES)
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
    return tuple(by_name(name) for name in NAMES)


def by_name(name: str) -> "ModelClass":
    """Return the model class of a family; imports TensorFlow.

    Raises:
      InputError: If there is no such family, naming those that there are.
    """
    module, attribute = _FAMILIES[config_class(name)]
    found: ModelClass = getattr(importlib.import_module(module), attribute)
    return found


def names_with(supported: "Predicate") -> str:
    """Return the names of the families with a capability, for messages; imports TensorFlow."""
    return ", ".join(one.config_class.family for one in classes() if supported(one)) or "none yet"
