r"""Run one of the three commands on Vertex AI: write the job's description, and submit it.

  python -m tools.submit_vertex --project=P --region=europe-west4 --bucket=B --machine=gpu \
    -- --data_dir=dataset --flagfile=flags/presets/default.flags

trains on gs://B/dataset into gs://B/run. What follows after -- is the command's own flags; paths in
them are in the bucket. --command=prepare and --command=generate submit the other two. It needs
pip install 'lstm_gen[cloud]', and to submit `gcloud auth application-default login`; --dry_run
needs no account. Images are made by `make image`.
"""

import shlex

from flags import command
from lstm_gen.platform import storage
from tools.vertex import jobs, vertex_flags


def main(arguments: list[str]) -> None:
    """Write the description, submit the job unless that is not wanted, and say where to look."""
    job, output = vertex_flags.config(arguments), vertex_flags.output()
    spec = jobs.build_spec(job)
    storage.write_text(output, jobs.to_yaml(spec))
    machine = jobs.MACHINES[job.machine].what
    hosts = f"{job.hosts} hosts with {machine} each" if job.hosts > 1 else machine
    print(f"{output}: {jobs.display_name(job)} on {hosts}")
    if vertex_flags.dry_run():
        print(f"by hand   {_gcloud(job, output)}")
        return
    name = jobs.submit(job)
    print(f"submitted {name}")
    print(f"follow    gcloud ai custom-jobs stream-logs {name}")
    if job.command == "train":
        print(f"look      tensorboard --logdir=gs://{job.bucket_name}/{job.name}/logs")


def _gcloud(job: jobs.JobConfig, output: str) -> str:
    """Return the command line that submits the file."""
    named = {
        "project": job.project,
        "region": job.region,
        "display-name": jobs.display_name(job),
        "config": output,
    }
    flags = " ".join(f"--{name}={shlex.quote(value)}" for name, value in named.items())
    return f"gcloud ai custom-jobs create {flags}"


if __name__ == "__main__":
    command.run_with_rest(main, vertex_flags)
