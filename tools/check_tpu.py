"""TPU preflight on any machine: compilation, memory fit and estimated time of a preset.

  make check-tpu                                       every preset on one v5e chip
  .venv-tpu/bin/python -m tools.check_tpu --preset=long --topology=v5e:2x2 --precision=bfloat16
  .venv-tpu/bin/python -m tools.check_tpu --units=2048 --batch_size=256

Lowers the real training step and generation, and compiles them with the TPU's own compiler. The
exit status is 1 if anything does not compile or fit.
"""

import dataclasses
from typing import TYPE_CHECKING

from lstm_gen import models
from lstm_gen.cli import command, settings, train
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import TrainingConfig, WindowConfig
from lstm_gen.platform import stderr_filter
from tools.tpu import chips

if TYPE_CHECKING:
    from lstm_gen.models import base
    from tools.tpu import lowering


@dataclasses.dataclass(frozen=True, kw_only=True)
class TPUConfig(fields.Settings):
    """TPU, presets to check, and songs."""

    preset: tuple[str, ...] = fields.setting(
        (),
        "Presets to check, separated by commas, or all. Flags given beside them win. Without it, "
        "the flags alone are checked.",
        choices=("all", *settings.preset_names()),
    )
    topology: str = fields.setting(
        "v5e:1x1",
        f"TPU version ({', '.join(chips.CHIPS)}) and its chips along each axis. The batch is split "
        "over all devices (two per chip on v2, v3 and v4), so more chips need less memory each.",
    )
    largest_batch: bool = fields.setting(
        True, "Also search for the largest batch that fits: a minute or two per preset."
    )
    n_songs: int = fields.like(GenerationConfig, "n_songs", help="Songs generated in one batch.")
    seconds: float = fields.like(GenerationConfig, "seconds")
    primer_seconds: float = fields.like(
        GenerationConfig, "primer_seconds", help="Length of each song's primer."
    )

    @property
    def names(self) -> list[str]:
        """Names of the presets to check; "" for the flags alone."""
        return settings.preset_names() if "all" in self.preset else list(self.preset) or [""]


SETTINGS = (
    TPUConfig,
    train.ModelConfig,
    *models.CONFIGS,
    AudioConfig,
    WindowConfig,
    TrainingConfig,
)


def main(line: settings.CommandLine) -> int:
    """Print the result of each preset; return 1 if any of them fails."""
    config = line.build(TPUConfig)
    topology = chips.parse(config.topology)
    stderr_filter.start()
    from tools.tpu import preflight, report

    preflight.load_compiler()
    results: dict[str, preflight.Result | None] = {}
    for name in config.names:
        results[name] = None
        try:
            plan = read_plan(line.with_preset(name))
            results[name] = result = preflight.check(*plan, topology, config.largest_batch)
            print(report.describe(name, result), flush=True)
        except Exception as error:  # one preset's failure never stops the others
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"{name or 'these flags'}: FAILED  {reason}", flush=True)
    print(f"\n{report.NOTES}")
    if len(results) > 1:
        print(f"\n{report.table(results)}")
    return 0 if all(result is not None and result.ok for result in results.values()) else 1


def read_plan(
    line: settings.CommandLine,
) -> "tuple[lowering.Plan, base.GenerationRequest, int]":
    """Return the plan, the songs to generate, and the frames of a primer."""
    from lstm_gen.models import base
    from tools.tpu import lowering

    chosen, songs = line.build(train.ModelConfig), line.build(TPUConfig)
    audio, window = line.build(AudioConfig), line.build(WindowConfig)
    family_settings = line.build(models.config_class(chosen.model))
    plan = lowering.Plan(
        settings=family_settings,
        spec=base.FrameSpec(
            audio=audio,
            timesteps=window.timesteps,
            shift=models.by_name(chosen.model).target_shift(family_settings, window.shift),
            conditions=tuple(map(_condition, chosen.labels)),
        ),
        training=line.build(TrainingConfig),
    )
    n_frames, primer_frames = (
        max(1, round(seconds * audio.frames_per_second))
        for seconds in (songs.seconds, songs.primer_seconds)
    )
    return plan, base.GenerationRequest(n_songs=songs.n_songs, n_frames=n_frames), primer_frames


def _condition(name: str) -> "base.Condition":
    """Return a stand-in for a label of unknown kind: a MIDI note number."""
    from lstm_gen.models import base

    return base.Condition(name=name, kind="number", minimum=21.0, maximum=108.0)


if __name__ == "__main__":
    command.run(main, SETTINGS)
