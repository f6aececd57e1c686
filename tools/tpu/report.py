"""Preflight report: text for each preset, and a Markdown table."""

from collections.abc import Mapping

from tools.tpu import preflight

NOTES = """\
HBM        the device's memory: arguments that stay between calls (weights, optimizer state, batch),
           temporaries outside on-chip memory, and the program's code.
roofline   lower bound on the time: FLOPs at peak rate or HBM traffic at full bandwidth, whichever
           takes longer. compute-bound: time grows with the batch. memory-bound: more FLOPs on the
           same bytes are free.
estimated  time by the compiler's own cost model, stalls and small operations included; never
           compared with a clock here. Far above the roofline means sequential loops: each frame of
           an LSTM waits for the one before, so a larger batch costs little.
excluded   input pipeline, host, and the gradient all-reduce between chips. The compiler belongs to
           a newer libtpu than TensorFlow's TPU image has, and nothing has been executed."""

_HEADINGS = (
    *("preset", "precision", "parameters", "examples a device", "HBM", "FLOPs", "HBM traffic"),
    *("roofline", "bound", "estimated", "largest batch", "songs, estimated"),
)
_RULE = ("---", "---", *["---:"] * 6, "---", *["---:"] * 3)


def describe(name: str, result: preflight.Result) -> str:
    """Return the result of one plan as lines of text."""
    plan, topology, request = result.plan, result.topology, result.request
    batch_size = plan.training.batch_size
    lines = [
        f"{name or 'these flags'}: {plan.settings.family}, {result.parameters:,} parameters, "
        f"{plan.training.precision}",
        f"  {topology.name}     {topology.device_batch(batch_size)} of {batch_size} examples "
        f"a step on each of {topology.devices} devices, "
        f"{topology.device_hbm_bytes / 2**30:.0f} GiB of HBM each",
    ]
    if result.step:
        lines.append(f"  train step  {_describe_estimate(result.step)}")
    if result.largest_batch is not None:
        lines.append(f"  largest     --batch_size={result.largest_batch} fits (within an eighth)")
    if result.songs:
        lines.append(f"  {request.n_songs} songs of {request.n_frames} frames")
        lines.append(f"              {_describe_estimate(result.songs)}")
    lines += [f"  DOES NOT COMPILE OR FIT  {problem}" for problem in result.problems]
    return "\n".join(lines)


def _describe_estimate(work: preflight.Estimate) -> str:
    return (
        f"compiles; HBM {_size(work.memory_bytes)}, {_size(work.resident_bytes)} of it resident; "
        f"{work.flops / 1e9:,.1f} GFLOP, {_size(work.hbm_bytes)} of HBM traffic\n"
        f"              at least {_time(work.roofline.seconds)} ({work.roofline.bound}-bound: "
        f"compute {_time(work.roofline.compute_seconds)}, memory "
        f"{_time(work.roofline.memory_seconds)}); estimated {_time(work.seconds)}; "
        f"{work.loop_iterations:,.0f} loop iterations"
    )


def table(results: Mapping[str, preflight.Result | None]) -> str:
    """Return a Markdown table with a row for each plan; None for a plan that failed."""
    rows = [_HEADINGS, _RULE, *(_row(name, one) for name, one in results.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, result: preflight.Result | None) -> list[str]:
    if result is None:
        return [name, "failed", *["-"] * (len(_HEADINGS) - 2)]
    plan, step, songs = result.plan, result.step, result.songs
    device_batch = result.topology.device_batch(plan.training.batch_size)
    cells = [name, plan.training.precision, f"{result.parameters / 1e6:.2f} M", f"{device_batch}"]
    if step:
        cells += [
            _size(step.memory_bytes),
            f"{step.flops / 1e9:,.1f} G",
            _size(step.hbm_bytes),
            _time(step.roofline.seconds),
            step.roofline.bound,
            _time(step.seconds),
        ]
    else:
        cells += [f"no: {result.problems[0]}", *["-"] * 5]
    cells.append("-" if result.largest_batch is None else f"{result.largest_batch:,}")
    cells.append(_time(songs.seconds) if songs else "no")
    return cells


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:,.2f} ms"
