"""Evaluation of what a model is told: which label."""

from absl import flags

_LABEL = flags.DEFINE_string(
    "label", None, "The label that songs are asked for, one that the model is told.", required=True
)


def label() -> str:
    """Return the label's name."""
    return str(_LABEL.value)
