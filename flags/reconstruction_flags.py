"""Reconstructions: which recordings they are listened to on."""

from absl import flags

from flags import storage_flags

_INPUT_DIR = flags.DEFINE_string(
    "input_dir",
    "",
    "The recordings that the dataset was made of: those held out are sent through each model and "
    "back as sound. When not given, only frames are compared.",
)
_PCA_SOUNDS = flags.DEFINE_boolean(
    "pca_sounds", True, "Listen to the reconstructions of patch PCA too, beside the models'."
)


def input_dir() -> str:
    """Return where the recordings are; "" for nowhere."""
    return storage_flags.input_path(_INPUT_DIR.value) if _INPUT_DIR.value else ""


def pca_sounds() -> bool:
    """Return whether to listen to the linear code too."""
    return bool(_PCA_SOUNDS.value)
