"""Answers brought into one form, so that equal ones compare equal."""

from __future__ import annotations

import string


def plain(text: str) -> str:
    """Lower case, no spaces around."""
    return text.strip().lower()


def letter(text: str) -> str:
    """ "(B)." -> "(b)": how the letter of an option is kept apart from an answer "b"."""
    bare = plain(text).strip("().: ")
    return f"({bare})" if len(bare) == 1 and bare in string.ascii_lowercase else "\0"
