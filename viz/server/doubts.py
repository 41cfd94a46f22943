"""Say what speaks against an answer: loops, foreign letters, a clip or question not of its world.

And how sure the model itself is, in plain words. Pure functions of a trace's text and numbers.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from stc_core.answering.teaching import DOUBT
from stc_core.text import readable

__all__ = ["doubts", "looks_foreign", "repeats", "sureness", "unworldly"]

LOOKED_AT = 1500  # words or characters at an answer's end: where a loop stays
LONGEST_LOOP = 25  # words or characters that come again
FEWEST = 6  # words in all that a loop takes: "no, no, no" is none
DIFFERENT = 0.25  # of a long answer's words; fewer are a loop with changes
LONG = 24  # words from which that is looked at
FOREIGN = 0.15  # of an answer's letters
WHOLE = 4  # tokens up to which an answer's own probability is said, not the mean of its tokens
SURE, FAIRLY = 0.9, 0.5
SHOWN = 40  # characters of what comes again


def doubts(answer: str, question: str) -> list[str]:
    """Return a sentence for each thing in an answer's text that makes it doubtful."""
    found = []
    loop = repeats(answer)
    if loop:
        found.append(loop)
    foreign = looks_foreign(answer, question)
    if foreign:
        found.append(foreign)
    return found


def repeats(answer: str) -> str:
    """Say what an answer says over and over; '' where it does not."""
    words = answer.split()[-LOOKED_AT:]
    loop = _loop(words, FEWEST)
    if loop:
        return _over_and_over(" ".join(loop[0]), loop[1])
    letters = "".join(answer.split())[-LOOKED_AT:]
    loop = _loop(letters, 2 * FEWEST) if len(words) < FEWEST else None  # writing without spaces
    if loop:
        return _over_and_over("".join(loop[0]), loop[1])
    if len(words) >= LONG and len({word.lower() for word in words}) < DIFFERENT * len(words):
        return f"It repeats itself: {len(words)} words, few of them different."
    return ""


def looks_foreign(answer: str, question: str) -> str:
    """Say what of an answer is no text, or in letters not of the question; '' where nothing is."""
    if "\ufffd" in readable(answer):
        return "It holds characters that are no text."
    scripts = Counter(map(_script, filter(str.isalpha, answer)))
    expected = {"Latin", *map(_script, filter(str.isalpha, question))}
    others = [name for name in scripts if name not in expected]
    if sum(scripts[name] for name in others) <= FOREIGN * scripts.total():
        return ""
    return f"It is written in letters that the question does not have: {', '.join(others[:3])}."


def unworldly(notes: Sequence[str]) -> str:
    """Return what notes of a trace say of a clip or question that the model was not taught."""
    return " ".join(note for note in notes if note.startswith(DOUBT))


def sureness(logprob: Any, tokens: Any) -> str:
    """Say how probable an answer was to the model; '' where that is not known.

    Parameters
    ----------
    logprob
        Natural logarithm of the probability of the whole answer, its end included.
    tokens
        How many were generated.
    """
    numbers = isinstance(logprob, (int, float)) and not isinstance(logprob, bool)
    if not numbers or not math.isfinite(logprob) or logprob > 1e-3:
        return ""
    whole = not isinstance(tokens, int) or tokens <= WHOLE
    share = math.exp(min(logprob if whole else logprob / tokens, 0.0))
    word = "Sure of it" if share >= SURE else "Fairly sure" if share >= FAIRLY else "Unsure"
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"
    return f"{word}: {percent}" if whole else f"{word}: {percent} a token on average"


def _loop(parts: Sequence[str], fewest: int) -> tuple[Sequence[str], int] | None:
    """Return what stands at least three times in a row, and how often; None where nothing does."""
    for period in range(1, min(LONGEST_LOOP, len(parts) // 3) + 1):
        run = 0
        for place in range(period, len(parts)):
            run = run + 1 if parts[place] == parts[place - period] else 0
            if run >= max(2 * period, fewest - period):
                end = place + 1
                while end < len(parts) and parts[end] == parts[end - period]:
                    end += 1
                first = place - run - period + 1
                return parts[first : first + period], (end - first) // period
    return None


def _over_and_over(what: str, count: int) -> str:
    short = what if len(what) <= SHOWN else f"{what[: SHOWN - 1]}…"
    return f"It says the same over and over: “{short}”, {count} times."


def _script(letter: str) -> str:
    """Return "Latin", "Cyrillic", "Cjk", ... of a letter."""
    name = unicodedata.name(letter, "unknown").split()[0]
    return {"CJK": "Chinese"}.get(name, name.capitalize())
