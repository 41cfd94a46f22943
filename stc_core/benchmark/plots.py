"""Draw a benchmark from its summary alone: the same summary gives the same SVG."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc_core.benchmark.rows import names_after
from stc_core.benchmark.tables import (
    OURS,
    PAPER_MODULES,
    ablation_rows,
    main_rows,
    shown,
    uncompressed,
)
from stc_core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, RULE = "#1B1F24", "#59636E", "#D1D9E0"  # text, second text, lines
BLUE, VERMILLION = "#0072B2", "#D55E00"
# Okabe and Ito's colors without yellow, which is too light for a line; marks are a second channel
COLORS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", QUIET, "#8C564B")
MARKS = "s^vPX*"
FAINT = "#AFB8C1"  # the lines of those that are not named

Summary = dict[str, Any]


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Write each of ``PICTURES`` that has anything to draw, as .svg and .png."""
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
    rows, stock = _plain(main_rows(summary)), uncompressed(summary)
    if not rows or stock is None:
        return None
    figure, (axes,) = _sheet(9.2, 5.8)
    low, high = (100 * end for end in stock["interval95"])
    axes.axhspan(low, high, color=RULE, alpha=0.5, linewidth=0)
    axes.axhline(100 * stock["accuracy"], color=QUIET, linewidth=1, label="uncompressed")
    styles = _styles(rows)
    colored = [name for name, style in styles.items() if style["color"] != FAINT]
    for name, style in styles.items():
        points = sorted((row for row in rows if shown(row) == name), key=_kept)
        y = [100 * row["accuracy"] for row in points]
        if name not in colored:
            axes.plot([100 * _kept(row) for row in points], y, **style)
            continue
        aside = 1 + 0.02 * (colored.index(name) - len(colored) / 2)
        axes.errorbar(
            [100 * aside * _kept(row) for row in points],
            y,
            yerr=_gaps(y, [row["interval95"] for row in points]),
            elinewidth=0.8,
            capsize=2,
            **style,
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


def flops(summary: Summary) -> Figure | None:
    """Draw accuracy against FLOPs in the paper's convention, all methods, with the Pareto front.

    On the front are the methods to which no other of fewer or equal FLOPs is equal or ahead. Where
    costs lie in two groups far apart, each has axes of its own.
    """
    equal = [row for row in summary["rows"] if names_after("flops ", row["parts"])]
    every = {id(row): row for row in (*main_rows(summary), *equal)}.values()
    rows = [row for row in _plain(every) if row["flops"]["paper"]["of_full"]]
    stock = uncompressed(summary)
    if not rows or stock is None:
        return None
    groups = _apart(rows)
    figure, every_axes = _sheet(9.2, 5.8, len(groups))
    front, styles = pareto(rows), _styles(rows)
    accuracies = [100 * row["accuracy"] for row in (*rows, stock)]
    for axes, group in zip(every_axes, groups, strict=True):
        axes.axhline(100 * stock["accuracy"], color=QUIET, linewidth=1, label="uncompressed")
        axes.plot(
            [_cost(row) for row in front],
            [100 * row["accuracy"] for row in front],
            color=RULE,
            linewidth=8,
            solid_capstyle="round",
            drawstyle="steps-post",
            label="Pareto front",
            zorder=1,
        )
        for name, style in styles.items():
            points = sorted((row for row in group if shown(row) == name), key=_cost)
            axes.plot(
                [_cost(row) for row in points], [100 * row["accuracy"] for row in points], **style
            )
        least, most = _cost(group[0]), _cost(group[-1])
        room = 0.06 * (most - least) or 0.1 * most
        axes.set_xlim(least - room, most + room)
        axes.set_ylim(min(accuracies) - 3, max(accuracies) + 3)
    every_axes[0].set_ylabel("right answers, %")
    figure.supxlabel(
        "FLOPs in the paper's convention, % of the uncompressed model", fontsize=9, color=INK
    )
    handles = every_axes[0].get_legend_handles_labels()  # each of the axes has all of them
    figure.legend(*handles, loc="outside right upper", frameon=False)
    return figure


def _cost(row: Summary) -> float:
    return 100 * row["flops"]["paper"]["of_full"]


def _apart(rows: Iterable[Summary]) -> list[list[Summary]]:
    """Return the rows by rising FLOPs, in two groups where a factor of 1.5 lies between them."""
    rows = sorted(rows, key=_cost)
    gaps = [_cost(after) / _cost(before) for before, after in itertools.pairwise(rows)]
    place = 1 + gaps.index(max(gaps)) if gaps and max(gaps) > 1.5 else len(rows)
    return [part for part in (rows[:place], rows[place:]) if part]


def pareto(rows: Iterable[Summary]) -> list[Summary]:
    """Return the rows on the Pareto front of accuracy and FLOPs, by rising FLOPs."""
    front: list[Summary] = []
    for row in sorted(rows, key=lambda row: (_cost(row), -row["accuracy"])):
        if not front or row["accuracy"] > front[-1]["accuracy"]:
            front.append(row)
    return front


def _plain(rows: Iterable[Summary]) -> list[Summary]:
    """Return the rows without the other forms of rivals."""
    return [row for row in rows if "variant" not in row["parts"]]


def _kept(row: Summary) -> float:
    """Return the share of tokens after the first compressing step: at the entrance or inside."""
    tokens = row["tokens"]
    return tokens["door" if tokens["door"] < tokens["all"] else "end"] / tokens["all"]


def _styles(rows: Sequence[Summary]) -> dict[str, dict[str, Any]]:
    """Return {name: style of its line}, in the order of a legend.

    STC is blue and thick, its variants broken, our method vermillion and thick, the most accurate
    rivals by color and mark, the others faint and one entry together.
    """
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(shown(row), []).append(row["accuracy"])
    ranked = sorted(scores, key=lambda name: -sum(scores[name]) / len(scores[name]))
    rivals = [name for name in ranked if name != OURS and not name.startswith("STC")]
    styles: dict[str, dict[str, Any]] = {}
    if OURS in scores:
        styles[OURS] = {"color": VERMILLION, "marker": "D", "linewidth": 2.2, "zorder": 6}
    variants = itertools.cycle([("o", "--"), ("s", "-."), ("^", ":")])
    for name in sorted(name for name in scores if name.startswith("STC")):
        styles[name] = {"color": BLUE, "marker": "o", "linewidth": 2.2, "zorder": 5}
        if name != "STC":
            marker, line = next(variants)
            broken = {"marker": marker, "linestyle": line, "mfc": "white", "linewidth": 1.1}
            styles[name] |= broken
    for color, mark, name in zip(COLORS, MARKS, rivals, strict=False):
        styles[name] = {"color": color, "marker": mark, "linewidth": 1.1, "zorder": 4}
    others = rivals[len(COLORS) :]
    for name in others:
        styles[name] = {"color": FAINT, "marker": ".", "linewidth": 0.8, "zorder": 2}
    return {
        name: style
        | {"label": f"{len(others)} others: {name} ..." if name in others[:1] else name}
        | ({"label": None} if name in others[1:] else {})
        | {"markersize": 5}
        for name, style in styles.items()
    }


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
    rows = _plain(rows)
    for name, style in _styles(rows).items():
        points = [row for row in rows if shown(row) == name]
        right.plot(
            [100 * row["evidence"]["end"]["any"] for row in points],
            [100 * row["accuracy"] for row in points],
            **style | {"linestyle": "none"},
        )
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
    "flops": flops,
    "ablation": ablation,
    "recall": recall,
}
