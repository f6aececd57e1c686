"""TPU preflight on any machine: compilation, memory fit and estimated time of a preset.

  make check-tpu                                       every preset on one v5e chip
  .venv-tpu/bin/python -m tools.check_tpu --preset=music --topology=v5e:2x2 --precision=bfloat16
  .venv-tpu/bin/python -m tools.check_tpu --units=2048 --batch_size=256

Lowers the real training step and generation, and compiles them with the TPU's own compiler. The
exit status is 1 if anything does not compile or fit.
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
from lstm_gen import models
from lstm_gen.models import base
from tools.tpu import lowering, preflight, report, tpu_flags


def main() -> int:
    """Print the result of each preset; return 1 if any of them fails."""
    preflight.load_compiler()
    topology, find_largest = tpu_flags.topology(), tpu_flags.largest_batch()
    results: dict[str, preflight.Result | None] = {}
    for name, path in tpu_flags.presets().items():
        results[name] = None
        try:
            with command.preset(path):
                results[name] = result = preflight.check(*read_flags(), topology, find_largest)
            print(report.describe(name, result), flush=True)
        except Exception as error:  # one preset's failure never stops the others
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"{name or 'these flags'}: FAILED  {reason}", flush=True)
    print(f"\n{report.NOTES}")
    if len(results) > 1:
        print(f"\n{report.table(results)}")
    return 0 if all(result is not None and result.ok for result in results.values()) else 1


def read_flags() -> tuple[lowering.Plan, base.GenerationRequest, int]:
    """Return the plan, the songs to generate, and the frames of a primer."""
    settings, audio, songs = model_flags.config(), audio_flags.config(), tpu_flags.songs()
    window = window_flags.config(predicts=models.by_name(settings.family).predicts)
    plan = lowering.Plan(
        settings=settings,
        spec=base.FrameSpec(
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
    return plan, base.GenerationRequest(n_songs=songs.n_songs, n_frames=n_frames), primer_frames


def _condition(name: str) -> base.Condition:
    """Return a stand-in for a label of unknown kind: a MIDI note number."""
    return base.Condition(name=name, kind="number", minimum=21.0, maximum=108.0)


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
