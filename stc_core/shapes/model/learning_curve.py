"""Draw the learning curve from a run's log: loss and accuracy of every kind of question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stc_core.shapes.world.questions import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, RULE = "#1B1F24", "#59636E", "#D1D9E0"  # text, second text, lines
ANSWERS, SIGHT = "#0072B2", "#D55E00"  # questions, auxiliary labels: blue and vermillion
COLUMNS = 4

Line = dict[str, Any]


def plot(log: Path, target: Path) -> None:
    """Draw the log of a run: the loss, then one small panel for each accuracy, all against steps.

    Blue shows whole answers under teacher forcing, "all" questions and each kind, with "all" in
    gray behind each kind; vermillion shows what tokens tell the heads that exist only in training.
    Vertical lines mark where stages begin, with their numbers; minutes of training stand on top.

    Parameters
    ----------
    log : Path
        File of JSON lines as ``train`` writes them. An empty log writes nothing.
    target : Path
        Picture to write; its suffix chooses the format, .png or .svg among others.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read(log)
    if not lines:
        return
    panels = accuracies(lines)
    rows = -(-len(panels) // COLUMNS)
    height = 3.0 + 1.5 * rows  # inches
    figure = Figure(figsize=(11, height), facecolor="white")
    FigureCanvasAgg(figure)
    sides = {"left": 0.045, "right": 0.985}
    whole = figure.add_gridspec(1, 1, top=1 - 0.65 / height, bottom=1 - 2.2 / height, **sides)
    small = figure.add_gridspec(
        rows, COLUMNS, top=1 - 2.9 / height, bottom=0.3 / height, wspace=0.08, hspace=0.4, **sides
    )
    # Text stays text in an SVG, and the same log gives the same file.
    fixed: dict[Any, Any] = {
        "font.size": 8,
        "text.color": INK,
        "svg.fonttype": "none",
        "svg.hashsalt": "curve",
    }
    dated = "Date" if target.suffix == ".svg" else "Software"
    with rc_context(fixed):
        _loss(figure.add_subplot(whole[0]), lines)
        for place, name in enumerate(panels):
            axes = figure.add_subplot(small[place // COLUMNS, place % COLUMNS])
            _accuracy(axes, lines, name)
            axes.tick_params(
                labelbottom=place + COLUMNS >= len(panels), labelleft=place % COLUMNS == 0
            )
        figure.savefig(target, dpi=150, metadata={dated: None})


def read(log: Path) -> list[Line]:
    """Return the lines of a log by steps; a step that a resumed run repeated counts once."""
    found: dict[int, Line] = {}
    for text in log.read_text().splitlines() if log.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # the run was killed as it wrote this line
        found[line["done"]] = line
    return [found[done] for done in sorted(found)]


def accuracies(lines: list[Line]) -> list[str]:
    """Return the names of all accuracies: all questions, kinds in order, auxiliary labels."""
    names = {name for line in lines for name in line}
    dense = sorted(name for name in names if name.startswith(("knows/", "sees/")))
    return [n for n in ("right", *(f"right/{kind}" for kind in KINDS)) if n in names] + dense


def series(lines: list[Line], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values (m,) of one name, from the lines that have it."""
    pairs = [(line["done"], line[name]) for line in lines if name in line]
    steps, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    return steps, values


def _loss(axes: Axes, lines: list[Line]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    borders = _borders(lines)
    named: set[str] = set()
    for _, stage, part in borders:  # a line each: losses of different stages do not compare
        axes.plot(
            *series([line for line in lines if line["stage"] == stage], "loss"),
            color=SIGHT if part == "vision" else ANSWERS,
            linewidth=1.2,
            label=None if part in named else part,
        )
        named.add(part)
    axes.legend(loc="upper right", frameon=False, fontsize=8)
    _frame(axes, lines)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("loss", loc="left", fontsize=9, fontweight="bold")
    axes.set_xlabel("steps", color=QUIET)
    for at, stage, _ in borders:
        axes.annotate(
            str(stage),
            (at, 1),
            (3, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            color=QUIET,
            fontsize=7,
        )
    steps, seconds = series(lines, "seconds")
    seconds = np.maximum.accumulate(seconds)
    minutes = MaxNLocator(nbins=10).tick_values(0, seconds[-1] / 60)
    minutes = minutes[(minutes >= seconds[0] / 60) & (minutes <= seconds[-1] / 60)]
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks(np.interp(minutes * 60, seconds, steps), [f"{m:g}" for m in minutes])
    top.set_xlabel("minutes", color=QUIET)
    top.tick_params(color=RULE, labelcolor=QUIET)
    top.spines[:].set_visible(False)


def _accuracy(axes: Axes, lines: list[Line], name: str) -> None:
    group, _, kind = name.partition("/")
    if group == "right" and kind:
        axes.plot(*series(lines, "right"), color=RULE, linewidth=1.0)
    steps, values = series(lines, name)
    axes.plot(steps, values, color=ANSWERS if group == "right" else SIGHT, linewidth=1.2)
    _frame(axes, lines)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1])
    title = kind or "all questions" if group == "right" else f"{group} {kind}"
    axes.set_title(title.replace("_", " "), loc="left", fontsize=9, fontweight="bold")
    axes.set_title(f"{values[-1]:.2f}", loc="right", fontsize=9, color=QUIET)


def _frame(axes: Axes, lines: list[Line]) -> None:
    first, last = lines[0]["done"] - lines[0]["step"], lines[-1]["done"]
    axes.set_xlim(first, max(last, first + 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(color=RULE, labelcolor=QUIET, labelsize=7)
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    for at, _, _ in _borders(lines)[1:]:
        axes.axvline(at, color=QUIET, linewidth=0.5, linestyle=(0, (2, 2)))


def _borders(lines: list[Line]) -> list[tuple[float, int, str]]:
    """Return first step, number and part of every stage of the log."""
    begun = {line["stage"]: (line["done"] - line["step"], line["part"]) for line in lines}
    return [(at, stage, part) for stage, (at, part) in begun.items()]
