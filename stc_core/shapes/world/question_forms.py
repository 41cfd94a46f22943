"""Tell whether a question has one of the forms that the world of shapes asks.

A model that learnt these forms alone cannot be relied on in any other: it may refuse the question,
and it may answer one that it takes it for.
"""

from __future__ import annotations

import re
from functools import cache

from stc_core.shapes.world.questions import NOUNS, PHRASINGS, VERBS
from stc_core.shapes.world.scenes import COLORS, FILLS, SHAPES, SIZES


def has_known_form(question: str) -> bool:
    """Tell whether a question is one of `PHRASINGS` with words of the world in its gaps.

    Case, repeated blanks, the British spelling of "color", "a" for "an" and a missing question
    mark make no difference, as they make none to the model's tokenizer.

    Parameters
    ----------
    question : str

    Returns
    -------
    bool
        True also for the forms in which the world asks what cannot be answered, whatever their
        nouns and verbs are: the model has learnt to refuse those.

    Examples
    --------
    >>> has_known_form("What colour is the striped star?")
    True
    >>> has_known_form("Who won the match?")
    False
    """
    text = " ".join(question.lower().replace("colour", "color").split()).rstrip("? ")
    return _known().fullmatch(re.sub(r"\ban\b", "a", text)) is not None


@cache
def _known() -> re.Pattern[str]:
    def one_of(words: tuple[str, ...] | list[str]) -> str:
        return f"(?:{'|'.join(map(re.escape, words))})"

    looks = [f"(?:{one_of(list(words))} )?" for words in (SIZES, FILLS, tuple(COLORS))]
    name = "".join(looks) + one_of([*SHAPES, "object", *NOUNS])
    choice = one_of([*SIZES, *FILLS])
    gaps = {"name": name, "noun": one_of(NOUNS), "verb": one_of(VERBS)}
    forms = []
    for kind, phrasings in PHRASINGS.items():
        ends = choice if kind == "look" else name
        for phrasing in phrasings:
            plain = re.escape(phrasing.rstrip("?"))
            for gap, pattern in {**gaps, "a": ends, "b": ends}.items():
                plain = plain.replace(re.escape(f"{{{gap}}}"), pattern)
            forms.append(plain)
    return re.compile("|".join(f"(?:{form})" for form in forms))
