r"""Vertex AI submission of the three commands: writes the job's specification and submits it.

  python -m tools.submit_vertex --project=P --region=europe-west4 --bucket=B --machine=gpu \
    -- --preset=default --data_dir=dataset

trains on gs://B/dataset and writes the run gs://B/run. Flags after -- are the command's own; paths
in them are in the bucket. --command=prepare and --command=generate run the other two. Needs
pip install 'lstm_gen[cloud]' and, to submit, `gcloud auth application-default login`; --dry_run
needs no account. `make image` builds the container images.
"""

import dataclasses
import shlex
from typing import NoReturn

from lstm_gen.cli import command, settings
from lstm_gen.config import fields
from lstm_gen.platform import errors, storage
from tools import vertex


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmissionConfig(fields.Settings):
    """Submission."""

    output: str = fields.setting(
        "job.yaml",
        "File for the job's specification, as `gcloud ai custom-jobs create --config` takes it.",
    )
    dry_run: bool = fields.setting(
        False, "Write the specification and stop; nothing is submitted or billed."
    )


SETTINGS = (vertex.JobConfig, SubmissionConfig)


def main(line: settings.CommandLine) -> None:
    """Write the specification, submit the job unless --dry_run, and print how to follow it."""
    job, submission = line.build(vertex.JobConfig), line.build(SubmissionConfig)
    errors.require(
        not line.value("preset"),
        "--preset is for the command that runs; put it after --",
        preset=line.value("preset"),
    )
    output, spec = submission.output, vertex.build_spec(job, line.rest)
    storage.write_text(output, vertex.to_yaml(spec))
    machine = vertex.MACHINES[job.machine].what
    hosts = f"{job.hosts} hosts with {machine} each" if job.hosts > 1 else machine
    print(f"{output}: {vertex.display_name(job)} on {hosts}")
    if submission.dry_run:
        print(f"submit    {_gcloud(job, output)}")
        return
    name = vertex.submit(job, line.rest)
    print(f"submitted {name}")
    print(f"follow    gcloud ai custom-jobs stream-logs {name}")
    if job.command == "train":
        print(f"monitor   tensorboard --logdir=gs://{job.bucket_name}/{job.name}/logs")


def _gcloud(job: vertex.JobConfig, output: str) -> str:
    """Return the gcloud command line that submits the file."""
    named = {
        "project": job.project,
        "region": job.region,
        "display-name": vertex.display_name(job),
        "config": output,
    }
    flags = " ".join(f"--{name}={shlex.quote(value)}" for name, value in named.items())
    return f"gcloud ai custom-jobs create {flags}"


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS, rest=True)


if __name__ == "__main__":
    run()
