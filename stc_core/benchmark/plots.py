"""Draw a benchmark from its summary alone: the same summary gives the same SVG."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc_core.benchmark.tables import PAPER_MODULES, ablation_rows, main_rows, shown, uncompressed
from stc_core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, RULE = "#1B1F24", "#59636E", "#D1D9E0"  # text, second text, lines
BLUE, VERMILLION = "#0072B2", "#D55E00"
# Okabe and Ito's colors without yellow, which is too light for a line; marks are a second channel
COLORS = (VERMILLION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", QUIET)
MARKS = "sD^vPX<>*hdp"

Summary = dict[str, Any]


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Write retention, ablation and recall as .svg and .png, those that have anything to draw."""
    from matplotlib import rc_context

    fixed: dict[Any, Any] = {
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": RULE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "svg.fonttype": "none",
        "svg.hashsalt": "benchmark",
        "text.parse_math": False,
    }
    written = []
    with rc_context(fixed):
        for name, make in PICTURES.items():
            figure = make(summary)
            if figure is None:
                continue
            for ending, date in (("svg", "Date"), ("png", "Software")):
                path = folder / f"{name}.{ending}"
                try:
                    figure.savefig(path, dpi=160, metadata={date: None}, facecolor="white")
                except OSError as error:
                    raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from error
                written.append(path)
    return written


def _sheet(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.grid(axis="y", color=RULE, linewidth=0.6)
    return figure, list(axes)


def retention(summary: Summary) -> Figure | None:
    """Draw accuracy against the share of tokens kept, one line per method, with Wilson's intervals.

    Methods stand side by side, within a few percent of their place, so that intervals stay apart.
    """
    rows, stock = main_rows(summary), uncompressed(summary)
    if not rows or stock is None:
        return None
    figure, (axes,) = _sheet(9.2, 5.4)
    low, high = (100 * end for end in stock["interval95"])
    axes.axhspan(low, high, color=RULE, alpha=0.5, linewidth=0)
    axes.axhline(100 * stock["accuracy"], color=QUIET, linewidth=1, label="uncompressed")
    series: dict[str, list[Summary]] = {}
    for row in rows:
        series.setdefault(shown(row), []).append(row)
    styles = _styles(list(series))
    for place, (name, points) in enumerate(series.items()):
        aside = 1 + 0.012 * (place - len(series) / 2)
        points = sorted(points, key=_kept)
        y = [100 * row["accuracy"] for row in points]
        gaps = _gaps(y, [row["interval95"] for row in points])
        axes.errorbar(
            [100 * aside * _kept(row) for row in points],
            y,
            yerr=gaps,
            label=name,
            elinewidth=0.8,
            capsize=2,
            markersize=5,
            **styles[name],
        )
    axes.set_xscale("log")
    ticks = sorted({100 * row["retention"] for row in rows})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel="video tokens kept by the first compression, % (logarithmic)",
        ylabel="right answers, %",
    )
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _kept(row: Summary) -> float:
    """Return the share of tokens after the first compressing step: at the entrance or inside."""
    tokens = row["tokens"]
    return tokens["door" if tokens["door"] < tokens["all"] else "end"] / tokens["all"]


def _styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return line styles: STC thick and blue, its variants broken, others by color and mark."""
    styles: dict[str, dict[str, Any]] = {}
    variants = itertools.cycle([("o", "--"), ("s", "-."), ("^", ":")])
    others = 0
    for name in names:
        if name == "STC":
            styles[name] = {"color": BLUE, "marker": "o", "linewidth": 2.2, "zorder": 5}
        elif name.startswith("STC"):
            marker, line = next(variants)
            styles[name] = {"color": BLUE, "marker": marker, "linestyle": line, "mfc": "white"}
        else:
            styles[name] = {
                "color": COLORS[others % len(COLORS)],
                "marker": MARKS[others % len(MARKS)],
                "linewidth": 1.1,
                "linestyle": ("-", ":")[others // len(COLORS) % 2],
            }
            others += 1
    return styles


def ablation(summary: Summary) -> Figure | None:
    """Draw a bar for each combination of modules, with the paper's number beside it as a mark."""
    rows = {n: row for n, row in ablation_rows(summary).items() if row["of_full"] is not None}
    if not rows:
        return None
    figure, (axes,) = _sheet(6.4, 3.8)
    places = range(len(rows))
    y = [100 * row["of_full"] for row in rows.values()]
    gaps = _gaps(y, [row["of_full_interval95"] for row in rows.values()])
    axes.bar(places, y, width=0.62, color=BLUE, label="here, with 95 % intervals")
    axes.errorbar(places, y, yerr=gaps, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    axes.plot(
        places,
        [PAPER_MODULES[name] for name in rows],
        "D",
        color=VERMILLION,
        mec="white",
        markersize=7,
        label="arXiv 2603.21957, real benchmarks",
    )
    axes.set_xticks(places, [" + ".join(name) for name in rows])
    axes.set_ylim(0, 112)
    axes.set(
        xlabel="modules: A attention, S similarity, C clusters",
        ylabel="% of the uncompressed accuracy",
    )
    axes.legend(loc="upper left", ncols=2, frameon=False)
    return figure


def recall(summary: Summary) -> Figure | None:
    """Draw right answers by surviving evidence (left) and by method and retention (right)."""
    bands = summary["recall"]
    rows = [row for row in main_rows(summary) if row["evidence"]]
    if not bands or not rows:
        return None
    figure, (left, right) = _sheet(10.4, 4.2, 2)
    y = [100 * band["accuracy"] for band in bands]
    gaps = _gaps(y, [band["interval95"] for band in bands])
    left.errorbar(range(len(bands)), y, yerr=gaps, fmt="o-", color=BLUE, capsize=3, markersize=5)
    labels = [
        "none" if not band["to"] else f"{100 * band['above']:.0f}-{100 * band['to']:.0f}"
        for band in bands
    ]
    left.set_xticks(range(len(bands)), labels)
    left.set(
        xlabel="evidence cells in the last layer, % (all methods)",
        ylabel="still right, % of right before",
        ylim=(0, 103),
    )
    styles = _styles(list(dict.fromkeys(shown(row) for row in rows)))
    known = set()
    for row in rows:
        name = shown(row)
        style = {k: v for k, v in styles[name].items() if k in ("color", "marker", "mfc", "zorder")}
        right.plot(
            100 * row["evidence"]["end"]["any"],
            100 * row["accuracy"],
            linestyle="none",
            markersize=6,
            label=None if name in known else name,
            **style,
        )
        known.add(name)
    right.set(xlabel="questions with any evidence in the last layer, %", ylabel="right answers, %")
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _gaps(values: list[float], intervals: list[list[float]]) -> list[list[float]]:
    """Return [below, above]: from values in percent to the ends of intervals in shares."""
    pairs = list(zip(values, intervals, strict=True))
    return [
        [max(0.0, value - 100 * low) for value, (low, _) in pairs],
        [max(0.0, 100 * high - value) for value, (_, high) in pairs],
    ]


PICTURES: dict[str, Callable[[Summary], Any]] = {
    "retention": retention,
    "ablation": ablation,
    "recall": recall,
}
