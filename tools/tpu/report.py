"""What a preflight says in words and in a table."""

from collections.abc import Mapping

from tools.tpu import preflight

NOTES = """\
HBM        the chip's memory. A program takes what is held between calls (weights, optimizer,
           batch), what it works with, unless that fits on the chip itself, and its own code.
roofline   the least time there is: all arithmetic at the chip's peak, or all traffic with the HBM
           at its full rate, whichever takes longer. compute-bound: a larger batch takes longer in
           proportion. memory-bound: more arithmetic on the same bytes would cost nothing.
reckoned   what the compiler expects, waiting and small operations included; its own model, and
           nobody has held it against a clock here. Far above the roofline means that loops wait:
           a frame of an LSTM follows the one before, and a larger batch then costs little.
not here   input, host and the exchange of gradients between chips; the compiler is of a newer
           libtpu than TensorFlow's TPU image, and nothing has run."""

_HEAD = (
    "| preset | precision | parameters | windows a device | HBM | FLOPs | HBM traffic "
    "| roofline | bound | reckoned | largest batch | songs, reckoned |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: |"
)


def describe(name: str, verdict: preflight.Verdict) -> str:
    """Return what was found out about one plan, in lines."""
    plan, topology, controls = verdict.plan, verdict.topology, verdict.controls
    share = topology.share_of(plan.training.batch_size)
    lines = [
        f"{name or 'these flags'}: {plan.family.name}, {verdict.parameters:,} parameters, "
        f"{plan.training.precision}\n  {topology.name}     {share} of {plan.training.batch_size} "
        f"windows a step on each device (of {topology.devices}, with "
        f"{topology.device_hbm_bytes / 2**30:.0f} GiB each)"
    ]
    if verdict.step:
        lines.append(f"  train step  {_describe_work(verdict.step)}")
    if verdict.largest_batch is not None:
        lines.append(
            f"  largest     --batch_size={verdict.largest_batch} fits, found to within an eighth"
        )
    if verdict.songs:
        lines.append(f"  {controls.n_songs} songs of {controls.n_frames} frames")
        lines.append(f"              {_describe_work(verdict.songs)}")
    lines += [f"  DOES NOT COMPILE OR FIT  {problem}" for problem in verdict.problems]
    return "\n".join(lines)


def _describe_work(work: preflight.Work) -> str:
    return (
        f"compiles; HBM {_size(work.needed_bytes)}, {_size(work.held_bytes)} of it held; "
        f"{work.flops / 1e9:,.1f} GFLOP, {_size(work.hbm_bytes)} of traffic\n"
        f"              at least {_time(work.roofline.seconds)} ({work.roofline.bound}-bound: "
        f"compute {_time(work.roofline.compute_seconds)}, memory "
        f"{_time(work.roofline.memory_seconds)}); reckoned {_time(work.reckoned_seconds)}; "
        f"{work.loop_turns:,.0f} turns of loops"
    )


def table(verdicts: Mapping[str, preflight.Verdict]) -> str:
    """Return a Markdown table of several plans."""
    return "\n".join([_HEAD, *(_row(name, one) for name, one in verdicts.items())])


def _row(name: str, verdict: preflight.Verdict) -> str:
    plan, step, songs = verdict.plan, verdict.step, verdict.songs
    share = verdict.topology.share_of(plan.training.batch_size)
    cells = [name, plan.training.precision, f"{verdict.parameters / 1e6:.2f} M", f"{share}"]
    if step:
        cells += [
            _size(step.needed_bytes),
            f"{step.flops / 1e9:,.1f} G",
            _size(step.hbm_bytes),
            _time(step.roofline.seconds),
            step.roofline.bound,
            _time(step.reckoned_seconds),
        ]
    else:
        cells += [f"no: {verdict.problems[0]}", *["-"] * 5]
    cells.append("-" if verdict.largest_batch is None else f"{verdict.largest_batch:,}")
    cells.append(_time(songs.reckoned_seconds) if songs else "no")
    return f"| {' | '.join(cells)} |"


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _time(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds * 1e3:,.2f} ms"
