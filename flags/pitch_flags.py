"""Which label is a pitch, for whom that matters: models that are told it, melodies, judges."""

from absl import flags

from lstm_gen.config.generation import GenerationConfig

_PITCH_LABEL = flags.DEFINE_string(
    "pitch_label",
    GenerationConfig.pitch_label,
    "The label that is a pitch, as MIDI note number, if there is one: by it gan and note_vae are "
    "shown where harmonics lie, melodies are played, and tools listen.",
)


def pitch_label() -> str:
    """Return the name of the label that is a pitch."""
    return str(_PITCH_LABEL.value)
