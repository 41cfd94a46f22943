"""Check text from outside once, at the entrance, so that the rest of the program can rely on it.

Python's strings hold what UTF-8 cannot: halves of surrogate pairs, as JSON's ``"\\ud800"`` and
undecodable bytes of a command line or a file name give them. Text with one in it can be neither
sent to a browser nor written to a file.
"""

from __future__ import annotations

import re
import string

from stc_core.errors import InputError

__all__ = [
    "LONGEST_QUESTION",
    "answer_form",
    "checked_text",
    "option_letter",
    "readable",
    "said_the_same",
]

LONGEST_QUESTION = 1 << 17  # characters: what a context of 32,768 tokens holds, about

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # tab and line ends are text
_UNREADABLE = re.compile(f"{_SURROGATES.pattern}|{_CONTROLS.pattern}")


def checked_text(
    text: object, what: str, longest: int = LONGEST_QUESTION, *, controls: bool = False
) -> str:
    """Return ``text`` unchanged where it is text that UTF-8 can hold.

    Parameters
    ----------
    text
        Whatever came from outside.
    what : str
        Begins the sentence of the error: "the question".
    longest : int
        Characters that it may have.
    controls : bool
        Let control characters pass, except NUL; for what a model wrote. Tabs and line ends pass
        always.

    Raises
    ------
    InputError
        For what is no string, is too long, or holds a lone surrogate or a control character.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} must be a text, not of type {type(text).__name__}")
    if len(text) > longest:
        raise InputError(
            f"{what} has {len(text)} characters where {longest} are the most; shorten it"
        )
    if not text.isascii() and (found := _SURROGATES.search(text)):
        raise InputError(
            f"{what} is not valid Unicode at character {found.start() + 1} "
            f"(U+{ord(found[0]):04X}); write it in UTF-8"
        )
    if found := re.search("\0", text) if controls else _CONTROLS.search(text):
        raise InputError(
            f"{what} has the control character U+{ord(found[0]):04X} at character "
            f"{found.start() + 1}; remove it"
        )
    return text


def readable(text: str) -> str:
    """Return ``text`` with U+FFFD in place of lone surrogates and control characters.

    For names of files and what a model wrote, which nobody can be asked to write again.
    """
    return _UNREADABLE.sub("\ufffd", text)


def answer_form(text: str) -> str:
    """Return an answer in lower case, with single spaces and without punctuation at its end.

    "Purple  star." and "purple star" have one form. The page's JavaScript does the same
    (``sameAnswer`` in ``viz/workspace/js/pair.js``).
    """
    words = " ".join(text.lower().split())
    return words.rstrip(" .,!?") or words


def said_the_same(one: str, other: str) -> bool:
    """Tell whether two answers differ in case, spaces and final punctuation at most."""
    return answer_form(one) == answer_form(other)


def option_letter(text: str) -> str:
    """Return "(b)" for "(B)." or "b": the letter of an option, told apart from an answer "b".

    What is no single letter gives a form that no answer has.
    """
    bare = answer_form(text).strip("().: ")
    return f"({bare})" if len(bare) == 1 and bare in string.ascii_lowercase else "\0"
