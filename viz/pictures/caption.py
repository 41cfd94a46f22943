"""Write the head of a sheet (title, explanation) and its foot (question, method, model)."""

from __future__ import annotations

from stc_core.record.trace import Trace
from viz.pictures import palette
from viz.pictures.canvas import Canvas
from viz.pictures.words import Text, alive, printable, wrap

LINE = 16  # pixels


def head(canvas: Canvas, x: float, y: float, text: Text, width: float) -> float:
    """Write title and explanation; return the height used."""
    canvas.text(x, y, text.title, 17, weight="bold")
    lines = wrap(text.explanation, width, 12.5)
    for number, line in enumerate(lines):
        canvas.text(x, y + 26 + number * LINE, line, 12.5, color=palette.QUIET)
    return 26 + len(lines) * LINE + 8


def head_height(explanation: str, width: float) -> float:
    """Return the height that ``head`` will use."""
    return 26 + len(wrap(explanation, width, 12.5)) * LINE + 8


def foot_lines(trace: Trace, width: float) -> list[str]:
    """Return the lines under a picture: question and answer, method and model, counts."""
    asked = f"Question: {printable(trace.question, 220) or '(none)'}"
    answered = f"Answer: {printable(trace.answer, 160) or '(none)'}"
    if "answer" in trace.baseline:
        answered += f"   Uncompressed: {printable(trace.baseline['answer'], 160) or '(none)'}"
    run = f"{printable(trace.method, 400)}   {printable(trace.model, 80)}"
    return [line for text in (asked, answered, run, alive(trace)) for line in wrap(text, width, 11)]


def foot(canvas: Canvas, x: float, y: float, lines: list[str]) -> float:
    """Write the lines of ``foot_lines``; return the height used."""
    for number, line in enumerate(lines):
        canvas.text(x, y + number * LINE, line, 11, color=palette.QUIET)
    return len(lines) * LINE
