"""Pictures of a run: how many times faster than the fastest peer, case by case; and the roofline."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.contests import CONTESTS, Contest
from benchmarks.results import Run, geomean
from benchmarks.tables import Row, rows, threads_of

#: Opaque, so that the pictures look the same on light and dark pages. Blue and orange differ for everybody.
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "font.size": 11,
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "xtick.color": "#222222",
    "ytick.color": "#222222",
}
WIN, LOSS, GREY, DARK = "#1f6fb4", "#d9651a", "#6e6e6e", "#222222"


def draw(run: Run, folder: Path) -> list[str]:
    """Write all pictures; the names of the files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    written = []
    with pyplot.rc_context(STYLE):
        for contest in CONTESTS:
            found = {
                threads: [row for row in rows(run, contest, threads) if row.peer]
                for threads in threads_of(run)
            }
            found = {threads: of_threads for threads, of_threads in found.items() if of_threads}
            if found and len(contest.cases) > 1:
                written.append(save(pyplot, ratio_bars(pyplot, contest, found), folder, contest.name))
        figure = roofline(pyplot, run)
        if figure is not None:
            written.append(save(pyplot, figure, folder, "roofline"))
    return written


def save(pyplot: Any, figure: Any, folder: Path, name: str) -> str:
    """Write a picture of few colours, which makes a small file."""
    from PIL import Image

    path = folder / f"{name}.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(64)
    small.save(path, optimize=True)
    return path.name


def ratio_bars(pyplot: Any, contest: Contest, found: dict[int, list[Row]]) -> Any:
    """A panel per pass, a bar per case."""
    kinds = [kind for kind in contest.kinds if any(row.problem.kind == kind for row in found[min(found)])]
    count = len({row.problem.case_id for row in found[min(found)]})
    size = (9 if len(kinds) < 3 else 11, 1.7 + 0.26 * count)
    figure, panels = pyplot.subplots(
        1, len(kinds), figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    values = [row.ratio for of_threads in found.values() for row in of_threads if row.ratio]
    for kind, axes in zip(kinds, panels[0], strict=True):
        here = {threads: [row for row in found[threads] if row.problem.kind == kind] for threads in found}
        panel(axes, here)
        ratio_axis(axes, values)
        name_bars(axes, here[min(here)], kind == kinds[0], contest)
        if len(kinds) > 1:
            axes.set_title(kind, fontsize=11)
    against = "contiguous arrays" if contest.peers == ("fastconv",) else "the fastest peer"
    figure.supxlabel(f"{contest.title}: times as fast as {against}", fontsize=11)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, columnspacing=1.4)
    return figure


def panel(axes: Any, found: dict[int, list[Row]]) -> None:
    """A bar from 1 to the ratio on the fewest threads, a ring at the ratio on most; log scale."""
    least, most = min(found), max(found)
    first = [row.ratio or 1 for row in found[least]]
    colours = [WIN if value >= 1 else LOSS for value in first]
    axes.barh([0], [0], color=WIN, label=f"faster, {threads_text(least)}")
    axes.barh([0], [0], color=LOSS, label=f"slower, {threads_text(least)}")
    axes.barh(range(len(first)), [value - 1 for value in first], left=1, height=0.64, color=colours)
    axes.axvline(1, color=DARK, linewidth=1.3)
    axes.axvline(geomean(first), color=DARK, linewidth=1.3, linestyle=(0, (4, 3)), label="geometric mean")
    if most != least:
        second = {row.problem: row.ratio for row in found[most]}
        rings = [(second[row.problem], at) for at, row in enumerate(found[least]) if row.problem in second]
        ring = {"markerfacecolor": "white", "markeredgecolor": DARK, "markersize": 5.5}
        axes.plot(*zip(*rings, strict=True), "o", **ring, label=threads_text(most))


def threads_text(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def ratio_axis(axes: Any, values: list[float]) -> None:
    """Powers of two as far as the values go, 1 among them."""
    low, high = min(0.8, *values) / 1.12, max(1.3, *values) * 1.12
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    span = math.log2(high / low)
    step = 1 if span < 7 else 2
    ticks = [2.0**power for power in range(-16 * step, 17, step)]
    if span < 3:
        ticks = sorted([*ticks, *(1.5 * tick for tick in ticks)])
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()


def name_bars(axes: Any, rows: list[Row], leftmost: bool, contest: Contest) -> None:
    """Cases on the left, who the fastest peer was on the right."""
    axes.set_yticks(range(len(rows)), [row.problem.case_id for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0, labelleft=leftmost)
    if len(contest.peers) == 1 or len(contest.kinds) > 1:
        return
    for place, row in enumerate(rows):
        where = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        axes.annotate(row.peer, (1, place), (5, 0), **where, va="center", color=GREY, fontsize=10)


#: Where the name of a point may stand, best first: (offset in points, alignment).
SIDES = (((7, 0), ("left", "center")), ((-7, 0), ("right", "center")),
         ((0, 6), ("center", "bottom")), ((0, -6), ("center", "top")))  # fmt: skip


def roofline(pyplot: Any, run: Run) -> Any:
    """Forward on one thread: FLOP/s over FLOPs per byte that must be moved, fastconv and its fastest peer."""
    contest = next(contest for contest in CONTESTS if contest.name == "forward")
    found = [row for row in rows(run, contest, 1) if row.peer and row.problem.case_id != "toy"]
    if not found or "copy 1" not in run.peaks:
        return None
    figure, axes = pyplot.subplots(figsize=(9, 6), layout="constrained")
    axes.set(xscale="log", yscale="log")
    points = {row.problem.case_id: roofline_point(axes, row) for row in found}
    intensities = [x for x, _ in points.values()]
    low, high = min(intensities) / 1.6, max(intensities) * 2.2
    axes.set_xlim(low, high)
    roof(axes, low, high, run.peaks["float32 1"], run.peaks["copy 1"])
    for label, colour in (("fastconv, faster", WIN), ("fastconv, slower", LOSS)):
        axes.plot([], [], "o", color=colour, markersize=7, label=label)
    axes.plot([], [], "_", color=GREY, markersize=10, markeredgewidth=2, label="its fastest peer")
    axes.set_xlabel("FLOPs per byte of input, weight and output")
    axes.set_ylabel("GFLOP/s, forward, float32, 1 thread")
    axes.legend(loc="lower right", framealpha=1, edgecolor="#dddddd")
    name_points(figure, axes, points)
    return figure


def roofline_point(axes: Any, row: Row) -> tuple[float, float]:
    """A problem: where fastconv is, where its fastest peer is, and the way between; the place of fastconv."""
    problem = row.problem
    intensity = problem.flops / problem.least_bytes
    ours, peer = (problem.flops / seconds / 1e9 for seconds in (row.ours.median, row.peer_seconds))
    colour = WIN if ours >= peer else LOSS
    axes.plot([intensity] * 2, [peer, ours], color=colour, linewidth=1.6, zorder=2)
    axes.plot(intensity, peer, "_", color=GREY, markersize=10, markeredgewidth=2, zorder=3)
    axes.plot(intensity, ours, "o", color=colour, markersize=7, zorder=4)
    return intensity, ours


def name_points(figure: Any, axes: Any, points: dict[str, tuple[float, float]]) -> None:
    """The names of those points that have room for theirs."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # now it is known where everything lies
    taken = [text.get_window_extent() for text in axes.texts]
    taken += [axes.get_legend().get_window_extent()]
    radius = 4 * figure.dpi / 72
    for x, y in axes.transData.transform(list(points.values())):
        taken.append(Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius))
    for name, point in points.items():
        for away, (across, along) in SIDES:
            where = {"ha": across, "va": along, "fontsize": 9, "zorder": 5}
            text = axes.annotate(name, point, away, textcoords="offset points", **where)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                on_white(text)
                break
            text.remove()


def on_white(text: Any) -> None:
    """Text that stays readable on lines."""
    from matplotlib import patheffects

    text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])


def roof(axes: Any, low: float, high: float, peak: float, bandwidth: float) -> None:
    """What the machine can do at most."""
    places = [low, peak / bandwidth, high]
    axes.plot(places, [min(peak, bandwidth * x) / 1e9 for x in places], color=DARK, linewidth=1.6, zorder=1)
    above = {"textcoords": "offset points", "fontsize": 10}
    corner = (peak / bandwidth, peak / 1e9)
    texts = (
        axes.annotate(f"FMA peak, {peak / 1e9:.0f} GFLOP/s", corner, (0, 5), **above),
        axes.annotate(
            f"copying, {bandwidth / 1e9:.0f} GB/s", (low * 1.2, bandwidth * low * 1.2 / 1e9), (-4, 6),
            **above, rotation=45, rotation_mode="anchor", transform_rotates_text=True,
        ),
    )  # fmt: skip
    for text in texts:
        on_white(text)
