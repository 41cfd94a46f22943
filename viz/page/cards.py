"""Write the page's text as HTML, with pure functions: answers, costs, progress, notes.

Everything that a person, a file or a model wrote goes through ``escape``; nothing else may put
such text on the page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

from stc_core.record.trace import Trace
from stc_core.text import readable, said_the_same
from viz.examples import Known
from viz.pictures.words import alive, percent
from viz.server.doubts import doubts, sureness, unworldly

DASH = "–"  # for what was not measured

SURE_OF = "The probability that the model gives to its own answer; it says nothing of its truth."

STAGES = {
    "decode": "reading the video",
    "vision": "vision tower",
    "compression": "choosing and merging tokens",
    "prefill": "LLM reads video and question",
    "answer": "LLM writes the answer",
    "done": "drawing the pictures",
    "drawing": "drawing the pictures",
}


def escape(text: object) -> str:
    """Return text as text: markup, quotes and template signs lose their meaning.

    What no browser can be sent, as in odd names of files, becomes U+FFFD.
    """
    escaped = html.escape(readable(str(text)), quote=True)
    return escaped.replace("{", "&#123;").replace("$", "&#36;").replace("`", "&#96;")


def status(words: str, kind: str = "quiet", fraction: float | None = None) -> str:
    """Return the line under Run. ``kind``: "quiet", "busy", "done" or "error"."""
    # what changes all the time must not be read out all the time
    role = {"error": ' role="alert"', "busy": ""}.get(kind, ' role="status"')
    bar = ""
    if fraction is not None:
        share = min(max(fraction, 0.0), 1.0)
        bar = f'<div class="meter"><div style="width:{100 * share:.1f}%"></div></div>'
    return f'<div class="status {kind}"{role}>{escape(words)}{bar}</div>'


def progress(stage: str, fraction: float, elapsed: float) -> str:
    """Return what runs now and for how long."""
    plain, prefix = stage, ""
    if stage.startswith("uncompressed: "):
        plain, prefix = stage.removeprefix("uncompressed: "), "Uncompressed run: "
    name, _, count = plain.partition(" ")  # "vision 12/512 frames"
    words = f"{STAGES[name]}, {count}" if count and name in STAGES else STAGES.get(plain, plain)
    line = f"{prefix}{words}" if prefix else words[:1].upper() + words[1:]
    return status(f"{line} … {elapsed:.1f} s", "busy", fraction)


def answers(trace: Trace, about: Known | None = None) -> str:
    """Return the question, both answers and where the evidence went.

    Parameters
    ----------
    about : Known, optional
        The right answer and its evidence, where the world that made the clip knows them.
    """
    expected = about.answer if about else None
    first = trace.baseline.get("answer")
    foreign = unworldly(trace.notes)

    def below(answer: str | None, logprob: object, costs: object) -> str:
        return "" if answer is None else _below(trace.question, answer, logprob, costs)

    beneath = below(first, trace.baseline.get("logprob"), trace.baseline.get("costs"))
    cards = _card("Uncompressed", "all video tokens", first, "plain", expected, foreign, beneath)
    n, left = trace.grid.size, trace.alive()[-1]
    share = f"{percent(left, n)} of them at the end"
    title = "Compressed, edited" if trace.method.startswith("Edited(") else "Compressed"
    beneath = below(trace.answer, trace.logprob, trace.costs)
    cards += _card(title, share, trace.answer, "accent", expected, foreign, beneath)
    return (
        f'<section class="answers">{_question(trace.question)}'
        f'<div class="pair">{cards}</div>{_verdict(first, trace.answer, expected)}'
        f"{_evidence(trace, about)}</section>"
    )


def writing(question: str, said: Mapping[str, str], baseline: bool) -> str:
    """Return the question and both answers while the model writes them.

    Parameters
    ----------
    said : mapping
        {"uncompressed": text, "compressed": text}, as far as they are written.
    baseline : bool
        Whether the uncompressed run is made, before the other.
    """
    small = said.get("compressed")
    first = said.get("uncompressed", "") if baseline else None
    cards = _card("Uncompressed", "all video tokens", first, "plain", writes=small is None)
    cards += _card("Compressed", "", small or "", "accent", writes=not baseline or bool(first))
    return (
        f'<section class="answers writing">{_question(question)}<div class="pair">{cards}</div>'
        '<p class="verdict">The views still show the run before.</p></section>'
    )


def costs(trace: Trace) -> str:
    """Return what both runs cost, the saving of the LLM's work in the heading, the table folded."""
    whole, small = trace.baseline.get("costs") or {}, trace.costs
    rows = "".join(_row(*row) for row in _costs(whole, small))
    work = saved(_number(whole.get("paper_flops")), _number(small.get("paper_flops")))
    lead = f": FLOPs of the LLM {escape(work)}" if work != DASH else ""
    return (
        f'<details class="bill"><summary>Costs{lead}</summary>'
        f'<div class="scroll"><table class="costs"><thead><tr><th scope="col">Cost</th>'
        f'<th scope="col">Uncompressed</th><th scope="col">Compressed</th>'
        f'<th scope="col">Saved</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"{_stages(whole, small)}</details>"
    )


def run_line(trace: Trace) -> str:
    """Return method, model and counts of the run that the pictures show."""
    return (
        f'<p class="run"><code>{escape(trace.method) or DASH}</code> on '
        f"<code>{escape(trace.model) or DASH}</code><br>{escape(alive(trace))}; positions "
        f"{escape(trace.positions)}</p>"
    )


def notes(trace: Trace) -> str:
    """Return what was unusual about this run; empty where nothing was."""
    if not trace.notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in trace.notes)
    return f'<aside class="notes" aria-label="Notes on this run"><ul>{items}</ul></aside>'


def section(title: str, explanation: str) -> str:
    """Return heading and explanation of a picture; our own words, but escaped all the same."""
    return f'<div class="section"><h2>{escape(title)}</h2><p>{escape(explanation)}</p></div>'


def big(value: object) -> str:
    """Return a count of operations with a prefix: 41.4 T."""
    return _scaled(value, (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)))


def memory(value: object) -> str:
    """Return the bytes with a binary prefix: 3.1 MiB."""
    units = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))
    number = _number(value)
    return f"{number:.0f} B" if number is not None and number < 1024 else _scaled(value, units)


def duration(value: object) -> str:
    """Format seconds: 31 ms, 1.10 s."""
    number = _number(value)
    if number is None:
        return DASH
    return f"{1000 * number:.0f} ms" if number < 1 else f"{number:.2f} s"


def saved(whole: object, small: object) -> str:
    """Return how many times less: "49 × less"."""
    a, b = _number(whole), _number(small)
    if not a or not b:
        return DASH
    factor = a / b
    if 0.95 < factor < 1.05:
        return "same"
    return f"{factor:.3g} × less" if factor > 1 else f"{1 / factor:.3g} × more"


def _question(text: str) -> str:
    return f'<h2 class="question"><span>Question</span> {escape(text) or DASH}</h2>'


def _card(
    title: str,
    detail: str,
    answer: str | None,
    kind: str,
    expected: str | None = None,
    foreign: str = "",
    beneath: str = "",
    writes: bool = False,
) -> str:
    """Return one answer; ``writes``: its text so far, with a caret behind it."""
    words = (
        "not run" if answer is None else (escape(answer) or ("" if writes else "(empty answer)"))
    )
    quiet = ' class="none"' if answer is None else ""
    mark = ""
    if answer is not None and expected is not None:
        look, word = ("good", "right") if said_the_same(answer, expected) else ("bad", "wrong")
        mark = f'<span class="mark {look}">{word}</span>'
    elif answer is not None and foreign:
        mark = f'<span class="mark odd" title="{escape(foreign)}">outside its world</span>'
    if writes:
        words += '<span class="caret" aria-hidden="true"></span>'
    return (
        f'<article class="card {kind}"><header><b>{title}</b> <span>{escape(detail)}</span>{mark}'
        f"</header><p{quiet}>{words}</p>{beneath}</article>"
    )


def _below(question: str, answer: str, logprob: object, costs: object) -> str:
    """Return how sure the model is of an answer, and what speaks against it."""
    sure = sureness(logprob, _dict(costs).get("generated_tokens"))
    line = f'<small class="sure" title="{SURE_OF}">{escape(sure)}</small>' if sure else ""
    odd = "".join(f'<small class="odd">{escape(one)}</small>' for one in doubts(answer, question))
    return line + odd


def _verdict(whole: str | None, small: str, expected: str | None) -> str:
    """Tell whether compression changed the answer, and what is right where that is known."""
    parts = []
    if whole is not None:
        same = said_the_same(whole, small)
        parts.append("Both runs give the same answer." if same else "The two answers differ.")
    if expected is not None:
        parts.append(f"The right answer is <b>{escape(expected)}</b>.")
    return f'<p class="verdict">{" ".join(parts)}</p>' if parts else ""


def _evidence(trace: Trace, about: Known | None) -> str:
    """How many of the tokens with the evidence go on at each step, and where the last one ended."""
    tokens = about.tokens(trace.grid) if about else None
    if tokens is None:
        return ""
    frames = len(set(tokens // trace.grid.per_frame))
    before, enter, *stay = trace.alive(tokens)
    layer = trace.stages[-1].layer
    words = f"The evidence is {_many(before, 'token')} in {_many(frames, 'frame')}. "
    words += f"Tokens of it that enter the LLM on their own: {enter}"
    words += f"; that stay after layer {layer}: {stay[0]}." if stay else "."
    if not enter:
        words += " All of it is merged or dropped <b>before the LLM</b>."
    elif stay == [0]:
        words += f" The last of it is merged or dropped <b>inside the LLM</b>, after layer {layer}."
    return f'<p class="verdict">{words}</p>'


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _costs(whole: dict, small: dict) -> list[tuple[str, str, str, str]]:
    """Return (name, uncompressed, compressed, saved) of each row."""

    def row(name: str, value, show, title: str = "") -> tuple[str, str, str, str]:
        a, b = value(whole), value(small)
        return name, show(a), show(b), saved(a, b)

    rows = [
        row("Video tokens entering the LLM", lambda c: c.get("tokens_llm"), _count),
        row("Video tokens in the last layer", lambda c: c.get("tokens_end"), _count),
        row("FLOPs, the paper’s convention", lambda c: c.get("paper_flops"), big),
        row("FLOPs, real: all parts, text too", lambda c: _total(c.get("real_flops")), big),
        row("KV memory after the prefill", lambda c: c.get("kv_bytes"), memory),
        row("Time to the first token", lambda c: c.get("time_to_first_token"), duration),
        row("Time in all", lambda c: _total(c.get("seconds")), duration),
    ]
    if whole.get("peak_memory_bytes") or small.get("peak_memory_bytes"):
        rows.append(row("Peak GPU memory", lambda c: c.get("peak_memory_bytes"), memory))
    return rows


def _row(name: str, whole: str, small: str, factor: str) -> str:
    return (
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(whole)}</td>'
        f"<td>{escape(small)}</td><td>{escape(factor)}</td></tr>"
    )


def _stages(whole: dict, small: dict) -> str:
    """Return the seconds and FLOPs of each part, folded away."""
    parts = []
    for title, key, show in (("Time", "seconds", duration), ("Real FLOPs", "real_flops", big)):
        one, two = _dict(whole.get(key)), _dict(small.get(key))
        rows = [
            (name, show(one.get(name)), show(two.get(name)), saved(one.get(name), two.get(name)))
            for name in dict.fromkeys([*two, *one])
            if name != "total"
        ]
        if rows:
            body = "".join(_row(name.replace("_", " "), *rest) for name, *rest in rows)
            parts.append(f'<tbody><tr class="part"><th colspan="4">{title}</th></tr>{body}</tbody>')
    if not parts:
        return ""
    return (
        '<details class="parts"><summary>Time and FLOPs of each part</summary><div class="scroll">'
        f'<table class="costs">{"".join(parts)}</table></div></details>'
    )


def _scaled(value: object, units: tuple[tuple[str, float], ...]) -> str:
    number = _number(value)
    if number is None:
        return DASH
    for unit, size in units:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _count(value: object) -> str:
    number = _number(value)
    return DASH if number is None else f"{number:,.0f}".replace(",", " ")


def _number(value: object) -> float | None:
    """Return a finite number; None for anything else: a trace file may hold whatever."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _total(parts: object) -> float | None:
    """Return the sum of a dict's numbers, or its own "total"."""
    if isinstance(parts, dict) and "total" in parts:
        return _number(parts["total"])
    found = [n for n in map(_number, _dict(parts).values()) if n is not None]
    return sum(found) if found else _number(parts)
