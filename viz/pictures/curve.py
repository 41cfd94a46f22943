"""Draw a sweep as a curve: the probability of each answer over the setting, its tipping points."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from stc_core.record.sweep import Sweep
from viz.pictures import palette
from viz.pictures.canvas import Canvas
from viz.pictures.sheets import Picture
from viz.pictures.sweep_words import NAMES, value_words
from viz.pictures.words import printable, wrap

# Six inks that stay apart in normal, protan and deutan vision, each with a dash of its own.
INKS = ("#0072B2", "#D55E00", "#00805D", "#A8487F", "#8A6D00", "#57606A")
DASHES = ((), (8, 3), (2, 3), (9, 3, 2, 3), (4, 4), (1, 2))
LEAST = 0.02  # probability that an answer must reach somewhere to get a curve of its own
MARGIN, AXIS, NAMES_WIDE = 24, 40, 270  # pixels: around, left of and right of the curves
LABEL = 32  # characters of an answer and whose it is
TALL, APART = 300, 16  # of the curves; between two labels
ROLES = {"right": "right", "uncompressed": "uncompressed", "run": "the run"}


def render(sweep: Sweep, width: int = 1000) -> Picture:
    """Draw a sweep with title, curves, tipping points and caption; it needs no trace."""
    canvas, text = Canvas(width, 1), alt(sweep)
    inner = width - 2 * MARGIN
    title = wrap(f"Question: {printable(sweep.question, 220) or '(none)'}", inner, 16)
    foot = [line for words in _foot(sweep) for line in wrap(words, inner, 11)]
    top = MARGIN + 22 * len(title) + 40
    canvas = Canvas(width, top + TALL + 62 + 16 * len(foot) + MARGIN)
    for number, line in enumerate(title):
        canvas.text(MARGIN, MARGIN + 22 * number, line, 16, weight="bold")
    canvas.text(MARGIN, top - 34, "probability of the answer", 11, color=palette.QUIET)
    left, long = MARGIN + AXIS, inner - AXIS - NAMES_WIDE
    _axes(canvas, sweep, left, top, long)
    _turns(canvas, sweep, left, top, long)
    _curves(canvas, sweep, left, top, long)
    for number, line in enumerate(foot):
        canvas.text(MARGIN, top + TALL + 62 + 16 * number, line, 11, color=palette.QUIET)
    name = f"probability over the {NAMES[sweep.over]}"
    return Picture("curve", name, "", text, canvas.figure)


def alt(sweep: Sweep) -> str:
    """Say what the picture shows, with its numbers, as plain text."""
    known = [value_words(sweep.over, stop.value) for stop in sweep.stops]
    lead = f"Probability of each answer over the {NAMES[sweep.over]}, {len(known)} stops"
    span = f" from {known[0]} to {known[-1]}" if known else ""
    turns = "; ".join(
        f"between {value_words(sweep.over, turn.low)} and {value_words(sweep.over, turn.high)} it "
        f"turns from {turn.before!r} to {turn.after!r}"
        for turn in sweep.turns
    )
    return printable(f"{lead}{span}: {turns or 'the answer is the same at all of them'}.", 600)


def place_of(sweep: Sweep, value: float) -> float:
    """Return where a value lies on the axis, 0 to 1: ratios by their logarithm, 100 % at 0."""
    low, high = sweep.planned[0], sweep.planned[-1]
    if low == high:
        return 0.5
    if sweep.over == "retention":
        return math.log(high / value) / math.log(high / low)
    return (value - low) / (high - low)


def drawn_answers(sweep: Sweep) -> list[str]:
    """Return the answers that get a curve, at most six.

    Those of the run and of the uncompressed model and the right one always, others where they
    become likely.
    """
    named = _named(sweep)

    def rank(answer: str) -> float:
        most = max((chance for _, chance in sweep.curve(answer)), default=0.0)
        return most + 2 * (answer in named.values())

    known = [text for text in sweep.answers if any(True for _ in sweep.curve(text))]
    first = sorted((text for text in known if rank(text) >= LEAST), key=rank, reverse=True)
    chosen = set(first[: len(INKS)])
    return [text for text in known if text in chosen]


def spread(wanted: list[float], low: float, high: float, apart: float = APART) -> list[float]:
    """Return places ``apart`` from each other, near the wanted ones, from ``low`` to ``high``."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed, free = list(wanted), low
    for number in order:
        placed[number] = max(placed[number], free)
        free = placed[number] + apart
    room = high
    for number in reversed(order):
        placed[number] = min(placed[number], room)
        room = placed[number] - apart
    return placed


def _named(sweep: Sweep) -> dict[str, str | None]:
    return {
        "right": sweep.expected,
        "uncompressed": sweep.baseline.get("answer"),
        "run": sweep.present_answer,
    }


def _foot(sweep: Sweep) -> list[str]:
    turns = [
        f"{value_words(sweep.over, turn.high)} “{printable(turn.after, 60)}” | "
        f"{value_words(sweep.over, turn.low)} “{printable(turn.before, 60)}”"
        for turn in reversed(sweep.turns)
    ]
    told = f"The answer turns between: {';  '.join(turns)}" if turns else "The answer never turns."
    run = f"{printable(sweep.method, 400)}   {printable(sweep.model, 80)}"
    ends = [
        f"{value_words(sweep.over, stop.value)}: {stop.entered} tokens enter the LLM"
        for stop in (sweep.stops[0], sweep.stops[-1])
    ]
    return [words.replace(" %", "\u00a0%") for words in (told, run, "   ".join(ends))]


def _axes(canvas: Canvas, sweep: Sweep, left: float, top: float, long: float) -> None:
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + TALL * (1 - level)
        canvas.strokes(np.array([[(left, y), (left + long, y)]]), palette.RULE, 0.8)
        canvas.text(left - 8, y, f"{level:g}", 11, color=palette.QUIET, ha="right", va="center")
    taken: list[tuple[float, float]] = []
    ends = (sweep.planned[0], sweep.planned[-1], sweep.present)  # named before all others
    for value in dict.fromkeys((*ends, *sweep.planned)):
        x = left + long * place_of(sweep, value)
        canvas.strokes(np.array([[(x, top + TALL), (x, top + TALL + 5)]]), palette.INK, 1.0)
        words = value_words(sweep.over, value)
        words = words if sweep.over == "retention" else words.split(" ", 1)[-1]
        half = 3.6 * len(words) + 4
        if all(x + half <= low or high <= x - half for low, high in taken):
            taken.append((x - half, x + half))
            canvas.text(x, top + TALL + 9, words, 11, ha="center")
    x = left + long * place_of(sweep, sweep.present)
    canvas.polygon(
        np.array([(x - 5, top + TALL + 32), (x + 5, top + TALL + 32), (x, top + TALL + 25)]),
        palette.QUIET,
    )
    canvas.text(x, top + TALL + 34, "the run", 11, color=palette.QUIET, ha="center")
    canvas.text(
        left + long, top + TALL + 40, NAMES[sweep.over], 11, color=palette.QUIET, ha="right"
    )


def _turns(canvas: Canvas, sweep: Sweep, left: float, top: float, long: float) -> None:
    free = -math.inf
    places = [(place_of(sweep, turn.low) + place_of(sweep, turn.high)) / 2 for turn in sweep.turns]
    for place in sorted(places):
        x = left + long * place
        ends = np.arange(top - 4, top + TALL - 4, 8)
        dashes = np.stack([np.full((len(ends), 2), x), np.stack([ends, ends + 5], 1)], axis=2)
        canvas.strokes(dashes, palette.INK, 1.2)
        if x - 20 >= free:
            free = x + 24
            canvas.text(x, top - 20, "turns", 11, weight="bold", ha="center")


def _curves(canvas: Canvas, sweep: Sweep, left: float, top: float, long: float) -> None:
    answers, named = drawn_answers(sweep), _named(sweep)
    lines = []
    for text in answers:
        points = sorted((place_of(sweep, value), chance) for value, chance in sweep.curve(text))
        lines.append([(left + long * x, top + TALL * (1 - chance)) for x, chance in points])
    heights = spread([line[-1][1] for line in lines], top, top + TALL + 30)
    for number, (text, line, y) in enumerate(zip(answers, lines, heights, strict=True)):
        ink = INKS[number]
        dashes = _dashed(line, DASHES[number])
        if len(dashes):
            canvas.strokes(dashes, ink, 2.0)
        boxes = np.array([[(x - 2.5, v - 2.5), (x + 2.5, v - 2.5), (x + 2.5, v + 2.5),
                           (x - 2.5, v + 2.5)] for x, v in line])  # fmt: skip
        for box in boxes:
            canvas.polygon(box, ink)
        canvas.strokes(np.array([[line[-1], (left + long + 12, y)]]), ink, 0.8, alpha=0.6)
        told = ", ".join(ROLES[role] for role, answer in named.items() if answer == text)
        words = printable(text, max(12, LABEL - len(told)))
        canvas.text(left + long + 16, y, f"{words} · {told}" if told else words, 12, color=ink,
                    va="center", weight="bold")  # fmt: skip


def _dashed(line: list[tuple[float, float]], pattern: tuple[float, ...]) -> np.ndarray:
    """Return a polyline as pieces (m, 2, 2), cut by lengths of ink and gap in turn."""
    pieces, at, drawing, left = [], 0, True, pattern[0] if pattern else math.inf
    for (x0, y0), (x1, y1) in pairwise(line):
        length, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while length - done > 1e-9:
            step = min(left, length - done)
            ends = [(done / length), (done + step) / length]
            if drawing:
                pieces.append([(x0 + (x1 - x0) * s, y0 + (y1 - y0) * s) for s in ends])
            done, left = done + step, left - step
            if left <= 1e-9:
                at += 1
                drawing, left = not drawing, pattern[at % len(pattern)]
    return np.array(pieces).reshape(-1, 2, 2)
