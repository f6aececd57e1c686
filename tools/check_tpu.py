"""Preflight for a TPU, on any machine: does it compile, does it fit, how long does it take.

  make check-tpu                                       every preset on one chip of v5e
  .venv-tpu/bin/python -m tools.check_tpu --preset=music --topology=v5e:2x2 --precision=bfloat16
  .venv-tpu/bin/python -m tools.check_tpu --units=2048 --batch_size=256

lowers the real training step and the real generation, and hands them to the TPU's own compiler.
The exit status is 1 if anything does not compile or fit.
"""

from flags import (
    audio_flags,
    command,
    latent_flags,
    model_flags,
    pitch_flags,
    training_flags,
    window_flags,
)
from lstm_gen.models import base as families
from tools.tpu import lowering, preflight, report, tpu_flags


def main() -> int:
    """Print what was found out about each preset; return 1 if anything does not work."""
    topology, find_largest = tpu_flags.topology(), tpu_flags.largest_batch()
    verdicts = {}
    for name, path in tpu_flags.presets().items():
        with command.preset(path):
            verdicts[name] = preflight.check(*read_flags(), topology, find_largest)
        print(report.describe(name, verdicts[name]), flush=True)
    print(f"\n{report.NOTES}")
    if len(verdicts) > 1:
        print(f"\n{report.table(verdicts)}")
    return 0 if all(verdict.good for verdict in verdicts.values()) else 1


def read_flags() -> tuple[lowering.Plan, families.Controls, int]:
    """Return what is to be trained and generated, and the frames of a primer."""
    family, audio, songs = model_flags.family(), audio_flags.config(), tpu_flags.songs()
    window = window_flags.config(predicts=family.predicts)
    plan = lowering.Plan(
        family=family,
        settings=model_flags.config(),
        signal=families.Signal(
            audio=audio,
            timesteps=window.timesteps,
            shift=window.shift,
            conditions=tuple(map(_condition, model_flags.condition())),
        ),
        training=training_flags.config(),
    )
    n_frames, primer_frames = (
        max(1, round(seconds * audio.frames_per_second))
        for seconds in (songs.seconds, songs.primer_seconds)
    )
    return plan, families.Controls(n_songs=songs.n_songs, n_frames=n_frames), primer_frames


def _condition(name: str) -> families.Condition:
    """Return what stands for a label whose kind is not known here: the number of a MIDI note."""
    return families.Condition(name=name, kind="number", minimum=21.0, maximum=108.0)


if __name__ == "__main__":
    command.run(
        main,
        tpu_flags,
        model_flags,
        *model_flags.MODULES.values(),
        latent_flags,
        pitch_flags,
        audio_flags,
        window_flags,
        training_flags,
    )
