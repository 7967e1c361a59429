"""A run as a page of Markdown: what was measured and how, a table per contest, the means last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.contests import CONTESTS, Contest
from benchmarks.corners import CornerCase
from benchmarks.problems import Problem
from benchmarks.results import Memory, Run
from benchmarks.tables import (
    GAIN,
    WORTH_SHARING,
    Row,
    Summary,
    gain_seconds,
    missing,
    rows,
    summaries,
    threads_of,
    timed,
)
from benchmarks.worker import PEERS

#: Before a ratio under 1.
LOSS = "▼"

HOW = f"""\
Each engine runs in a process of its own and they take turns, a few milliseconds each, while the others wait
with no thread running. All have the same number of threads and are given the same random numbers, in the
form each likes best, made outside the timing; outputs are allocated beforehand where an engine offers that.
fastconv is given contiguous NumPy arrays and packs its weights inside the call; onnxruntime, OpenVINO and
ncnn have had theirs packed when the timing starts, as is their use. ncnn has no batches: it runs the images
one by one. OpenVINO is told to compute in float32, ncnn to keep away from half precision; both otherwise
would not.

**Ratio** is the time of the *fastest* peer over fastconv's: above 1 fastconv is faster, {LOSS} marks where
it is slower. Times are medians, ± half the distance of the quartiles; a difference below that is noise.
**Share** is of the machine's peak in fused multiply-adds, measured in the same run; operations are counted
as in the direct algorithm, whoever needs fewer, so that it may exceed 100%. **Error** is the rms error
against float64 relative to the result's rms, over the first channels and images where all would take too
long; a peer whose result is wrong is reported as failed, and its time not compared.

**Reproducing.** A case is a name for a line in benchmarks/cases.py, such as `conv2d n4 c64 56x56 k64 3x3 p1`.
`python -m benchmarks rn50-64 "rn50-64 input_gradient"` measures cases again; a line in place of a name
measures any other problem."""

ROOFLINE = """\
Forward convolutions on one thread over the arithmetic intensity of the case. A point above the sloping line
is a case whose arrays stay in a cache; one above the flat line needs fewer multiplications than the direct
algorithm."""


def page(run: Run, pictures: Iterable[str] = ()) -> str:
    """The whole page; `pictures` are the names of the files beside it that exist."""
    there = set(pictures)
    parts = ["# Performance", *header(run), HOW]
    if "roofline.png" in there:
        parts += ["![GFLOP/s over arithmetic intensity, with the machine's limits](roofline.png)", ROOFLINE]
    for contest in CONTESTS:
        parts += section(run, contest, there)
    parts += [*threads_section(run), *memory_section(run), *missing_section(run), *summary_section(run)]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], body: Iterable[Iterable[str]]) -> str:
    """A Markdown table; numbers to the right."""
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in body)])


def header(run: Run) -> list[str]:
    """Machine, versions, date and command."""
    facts = dict(run.machine)
    for what, speed in sorted(run.peaks.items()):
        measured, count = what.split()
        threads = f"{count} thread{'s' * (count != '1')}"
        if measured == "copy":
            facts[f"copying, {threads}"] = f"{speed / 1e9:.0f} GB/s, read and written"
        else:
            facts[f"FMA peak, {measured}, {threads}"] = f"{speed / 1e9:.0f} GFLOP/s"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    parts = [
        f"Written by `{run.command}` on {run.date}.",
        table(("", ""), facts.items()).replace("---:", "---"),
    ]
    if run.absent:
        absent = ", ".join(f"{engine} ({why})" for engine, why in run.absent.items())
        parts.append(f"**Missing**: {absent}. Every ratio below is to the fastest of those that were there.")
    return parts


def seconds(value: float) -> str:
    """Three digits and a unit."""
    unit, factor = ("µs", 1e6) if value < 1e-3 else ("ms", 1e3)
    scaled = value * factor
    return f"{scaled:.{max(0, 2 - len(str(int(scaled))) + (scaled >= 1))}f} {unit}"


def ratio(value: float | None) -> str:
    """With its mark if it is a loss."""
    if value is None:
        return "no peer"
    return f"{value:.2f}" if value >= 1 else f"{LOSS} {value:.2f}"


def name(problem: Problem, with_kind: bool) -> str:
    return f"{problem.case_id} {problem.kind}" if with_kind else problem.case_id


def section(run: Run, contest: Contest, pictures: set[str]) -> Iterator[str]:
    """Heading, table, picture, and all times for whoever wants them; nothing if nothing was measured."""
    counts = [threads for threads in threads_of(run) if rows(run, contest, threads)]
    if not counts:
        return
    yield f"## {contest.title}"
    if contest.about:
        yield contest.about
    if f"{contest.name}.png" in pictures:
        yield f"![{contest.title}: ratio per case]({contest.name}.png)"
    by_problem: dict[Problem, dict[int, Row]] = {}
    for threads in counts:
        for row in rows(run, contest, threads):
            by_problem.setdefault(row.problem, {})[threads] = row
    head = ["case"]
    for threads in counts:
        head += [f"{threads} thread{'s' * (threads > 1)}", *HEAD]
    with_kind = len(contest.kinds) > 1
    body = (
        [
            name(problem, with_kind),
            *(cell for threads in counts for cell in cells(found.get(threads))),
            *errors(found),
        ]
        for problem, found in by_problem.items()
    )
    yield table([*head, "error", "peer's"], body)
    yield all_times(run, contest, with_kind)
    yield from lines_of(contest)


#: Of `cells`, behind the number of threads.
HEAD = ("±", "GFLOP/s", "share", "fastest peer", "its time", "ratio")


def cells(row: Row | None) -> list[str]:
    """A row's cells at one number of threads."""
    if row is None:
        return [""] * 7
    flops = row.problem.flops
    return [
        seconds(row.ours.median),
        f"{row.ours.spread / 2:.0%}",
        f"{flops / row.ours.median / 1e9:.1f}" if flops else "",
        f"{row.share:.0%}" if row.share else "",
        row.peer,
        seconds(row.peer_seconds) if row.peer else "",
        ratio(row.ratio),
    ]


def errors(found: dict[int, Row]) -> list[str]:
    """Largest error over the numbers of threads, and the peer's."""
    peers = [row.peer_error for row in found.values() if row.peer]
    return [f"{max(row.error for row in found.values()):.1e}", f"{max(peers):.1e}" if peers else ""]


def all_times(run: Run, contest: Contest, with_kind: bool) -> str:
    """Every engine's median, folded away."""
    known = timed(run)
    columns = [
        (engine, threads)
        for engine in (contest.ours, *contest.peers)
        for threads in threads_of(run)
        if any((problem, threads, engine) in known for problem in contest.problems())
    ]

    def time(problem: Problem, threads: int, engine: str) -> str:
        found = known.get((problem, threads, engine))
        return seconds(found[0].median) if found else "-"

    body = (
        [name(problem, with_kind), *(time(problem, threads, engine) for engine, threads in columns)]
        for problem in contest.problems()
        if any((problem, threads, contest.ours) in known for threads in threads_of(run))
    )
    head = ["case", *(f"{engine}, {threads}" for engine, threads in columns)]
    return f"<details><summary>All engines, with threads</summary>\n\n{table(head, body)}\n\n</details>"


def lines_of(contest: Contest) -> Iterator[str]:
    """What the engines were given where that is a line of code, folded away."""
    corners = [problem.case for problem in contest.problems() if isinstance(problem.case, CornerCase)]
    if not corners:
        return
    text = []
    for corner in corners:
        shapes = ", ".join(f"{name} {shape}" for name, shape in corner.arrays.items())
        text.append(f"# {corner.id}: {shapes}")
        for engine, line in corner.lines.items():
            text += [part for part in ((corner.before or {}).get(engine), line) if part]
        text.append("")
    code = "\n".join(text).rstrip()
    yield f"<details><summary>The lines compared</summary>\n\n```text\n{code}\n```\n\n</details>"


def threads_section(run: Run) -> Iterator[str]:
    """fastconv on two threads against itself on one."""
    gains = gain_seconds(run)
    if not gains:
        return
    yield "## The second thread"
    yield (
        "fastconv on one thread and on two. Below 25 µs of work a call stays on one thread by itself; calls"
        f" of {WORTH_SHARING * 1e3:.0f} ms and more should gain {GAIN}."
    )
    yield table(
        ("case", "1 thread", "2 threads", "gain"),
        (
            [name(problem, True), seconds(one), seconds(two), f"{one / two:.2f}"]
            for problem, (one, two) in gains.items()
        ),
    )


def memory_section(run: Run) -> Iterator[str]:
    """Extra memory beside torch's and beside what is promised."""
    if not run.memory:
        return
    yield "## Extra memory of a call"
    yield (
        "How far a fresh process grows at its peak during its first call, beyond input and result. fastconv"
        " promises packed weights and 8 MiB per thread."
    )
    engines = list(dict.fromkeys(memory.engine for memory in run.memory))
    found: dict[tuple[str, str, int], dict[str, Memory]] = {}
    for memory in run.memory:
        found.setdefault((memory.case_id, memory.kind, memory.threads), {})[memory.engine] = memory
    body = []
    for (case, kind, threads), by_engine in found.items():
        allowed = next((memory.allowed_bytes for memory in by_engine.values() if memory.allowed_bytes), None)
        sizes = [
            mebibytes(by_engine[engine].extra_bytes if engine in by_engine else None) for engine in engines
        ]
        body.append([f"{case} {kind}", str(threads), *sizes, mebibytes(allowed)])
    yield table(("case", "threads", *engines, "promised"), body)


def mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:.1f} MiB"


def missing_section(run: Run) -> Iterator[str]:
    """Who is missing where, and why."""
    yield "## Not measured"
    found = missing(run)
    if not found:
        yield f"Nothing is missing: {', '.join(PEERS)} were there and did every case."
        return
    lines = []
    for engine, why, places in found:
        where = (
            ", ".join(places) if len(places) <= 4 else f"{', '.join(places[:3])} and {len(places) - 3} more"
        )
        lines.append(f"- {engine}: {why} ({where})")
    yield "\n".join(lines)


def summary_section(run: Run) -> Iterator[str]:
    """The means, beside the goals."""
    found = list(summaries(run))
    if not found:
        return
    yield "## In short"
    yield "Geometric mean and worst case of the ratios above, beside the least that is wanted."
    head = ("", "threads", "geomean", "goal", "worst case", "", "goal", "losses", "reached")
    yield table(head, map(summary_cells, found))


def summary_cells(line: Summary) -> list[str]:
    return [
        line.title,
        line.threads,
        f"{line.geomean:.2f}",
        goal(line.goal_geomean),
        f"{line.worst:.2f}",
        name(line.worst_problem, True),
        goal(line.goal_worst),
        f"{line.losses} of {line.count}",
        "yes" if line.reached else "**no**",
    ]


def goal(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
