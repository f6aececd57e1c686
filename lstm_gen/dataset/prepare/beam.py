"""Apache Beam pipeline over the tasks of a preparation, for more than one machine.

A task reads and writes by itself and leaves its receipt, so Beam only distributes the tasks: no
audio and no frames pass through it, and the bytes are those of a local run. Each task runs in a
worker process here too, so its memory is limited and a recording that ends it costs only itself.

Apache Beam is an optional dependency (`pip install 'lstm_gen[beam]'`).
"""

from collections.abc import Sequence

from lstm_gen.dataset.prepare import plan, workers
from lstm_gen.platform import errors


def run(job: plan.Job, tasks: Sequence[plan.Task], runner: str, options: Sequence[str]) -> None:
    """Do every task, each leaving its receipt.

    Args:
      job: Settings; all workers must be able to reach its directories.
      tasks: Tasks to do.
      runner: Name of a Beam runner: "DirectRunner", "DataflowRunner" ...
      options: Beam's own flags, such as "--project=my-project".

    Raises:
      InputError: If Beam is not installed, or the runner or an option is unknown.
    """
    try:
        import apache_beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise errors.InputError(
            "a runner other than local needs Apache Beam: pip install 'lstm_gen[beam]'. "
            f"Received: runner={runner!r}"
        ) from error
    try:
        pipeline = apache_beam.Pipeline(
            runner=runner, options=pipeline_options.PipelineOptions(list(options))
        )
    except (ValueError, SystemExit) as error:  # Beam's parser ends the program
        raise errors.InputError(
            f"Apache Beam must know the runner and its options ({error}). "
            f"Received: runner={runner!r}, options={list(options)!r}"
        ) from error
    with pipeline:
        _ = (
            pipeline
            | "Tasks" >> apache_beam.Create(list(tasks))
            | "SpreadOut" >> apache_beam.Reshuffle()
            | "Write" >> apache_beam.Map(_write, job)
        )


def _write(task: plan.Task, job: plan.Job) -> str:
    """Do one task on a Beam worker; return its name."""
    workers.run(job, [task], n_workers=1, report=lambda _: None)
    return task.name
