"""Which model family."""

from typing import Any

from absl import flags

from flags import lstm_flags
from lstm_gen import models
from lstm_gen.models.family import Family

MODULES = {"lstm": lstm_flags}

_MODEL = flags.DEFINE_enum(
    "model",
    models.FAMILIES[0].name,
    [family.name for family in models.FAMILIES],
    "; ".join(f"{family.name}: {family.summary}" for family in models.FAMILIES),
)


def family() -> Family:
    """Return the family asked for."""
    return models.by_name(_MODEL.value)


def config() -> Any:
    """Return that family's settings."""
    return MODULES[_MODEL.value].config()
