"""Write a trained generator as a SavedModel for serving.

  python -m tools.export_model --run_dir=run --output_dir=exported/1

It has one signature, serving_default: seed (int), primer (samples at the run's rate, which the
song continues; may be empty), seconds and temperature go in, waveform comes out. All between is in
the graph: TensorFlow Serving, or tf.saved_model.load, needs nothing of this program. What it gives
is what generate_songs.py --portable writes, sample for sample.
"""

from flags import command, export_flags, run_dir_flags, storage_flags
from lstm_gen.generation import export


def main() -> None:
    """Write the SavedModel, and say how to look at it."""
    run_dir, output_dir = run_dir_flags.input_dir(), export_flags.output_dir()
    export.write(
        run_dir,
        output_dir,
        export_flags.sigma_scale(),
        export_flags.n_iterations(),
        export_flags.max_seconds(),
    )
    print(f"{output_dir}: signature serving_default (seed, primer, seconds, temperature)")
    print(f"look      saved_model_cli show --all --dir={output_dir}")


if __name__ == "__main__":
    command.run(main, run_dir_flags, export_flags, storage_flags)
