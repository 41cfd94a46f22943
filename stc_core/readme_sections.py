"""Write tables in Markdown, and replace sections of a README between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stc_core.errors import InputError
from stc_core.writing import write_whole


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def check_section(readme: Path, name: str) -> None:
    """Raise ``InputError`` unless the README has a place for the section of this name."""
    _around(readme, name)


def write_section(readme: Path, name: str, content: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``, whole or not at all."""
    before, after = _around(readme, name)
    write_whole(readme, f"{before}\n\n{content}\n\n{after}")


def _around(readme: Path, name: str) -> tuple[str, str]:
    """Return what stands before and after, the marks included."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"there is no text file {str(readme)!r}; check the path") from None
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise InputError(
            f"{str(readme)!r} must hold {begin} and, after it, {end}, once each: what stands "
            f"between them is replaced"
        )
    return text[: text.index(begin) + len(begin)], text[text.index(end) :]
