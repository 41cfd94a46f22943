"""Every public docstring begins with a verb and has one form, numpydoc."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("stc_core", "viz")
# The verbs that docstrings of the tree begin with; none that is not in use.
VERBS = set(
    """
    Add Answer Append Apply Ask Average Begin Break Bring Build Call Check Choose Color Compare
    Compose Compress Compute Connect Convert Count Cut Decide Decode Describe Dim Discard Divide
    Do Draw Drop Encode End Estimate Exempt Extend Fill Find Fit Forget Format Generate Give Go
    Handle Hold Hook Iterate Join Keep Label Lay Leave Let List Load Look Make Map Mark Measure
    Merge Name Note Open Paint Parse Place Pool Put Raise Read Record Reduce Refuse Register
    Remove Render Replace Report Resize Return Round Run Sample Say Scale Share Show Stop Take
    Tell Train Turn Unpack Wait Walk Warn Wrap Write Yield
    """.split()
)
GOOGLE = re.compile(r"^ *(Args|Arguments|Returns|Yields|Raises|Attributes):\s*$", re.MULTILINE)


def docstrings(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) of the public functions, methods and classes of a source text."""
    waiting = [("", ast.parse(text))]
    while waiting:
        prefix, parent = waiting.pop()
        for node in parent.body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if node.name.startswith("_"):
                continue
            if text := ast.get_docstring(node):
                yield prefix + node.name, text
            if isinstance(node, ast.ClassDef):
                waiting.append((f"{prefix}{node.name}.", node))


def verb_of(docstring: str) -> str | None:
    """Return the verb that a docstring begins with; None for anything else.

    "Share of the cells ..." begins with a noun that is also a verb: no verb is followed by "of".
    """
    found = re.match(r"([A-Z][a-z]+)\b(?! of\b)", docstring)
    return found[1] if found and found[1] in VERBS else None


def without_verb(text: str) -> list[str]:
    return [name for name, docstring in docstrings(text) if not verb_of(docstring)]


def google(text: str) -> list[str]:
    """Return the headings of Google's form in any docstring of a source text, private ones too."""
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))
    return [found for node in nodes for found in GOOGLE.findall(ast.get_docstring(node) or "")]


def sources() -> dict[str, str]:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}


def test_every_public_docstring_begins_with_a_verb():
    found = {path: bad for path, text in sources().items() if (bad := without_verb(text))}
    assert not found


def test_every_verb_of_the_list_is_in_use():
    used = {verb_of(docstring) for text in sources().values() for _, docstring in docstrings(text)}
    assert used - {None} == VERBS


def test_no_docstring_has_another_form():
    found = {path: bad for path, text in sources().items() if (bad := google(text))}
    assert not found


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ('def f():\n    """The share of a clip."""', "f"),
        ('def f():\n    """Share of the cells."""', "f"),
        ('def f():\n    """Returns the share."""', "f"),
        ('def f():\n    """`count` examples."""', "f"),
        ('class A:\n    """One question."""', "A"),
        ('class A:\n    def f(self):\n        """What it is of."""', "A.f"),
        ('async def f():\n    """How long it took."""', "f"),
    ],
)
def test_a_planted_docstring_without_a_verb_is_found(planted, name):
    assert without_verb(planted) == [name]


@pytest.mark.parametrize("heading", ["Args", "Returns", "Yields", "Raises", "Attributes"])
def test_a_planted_heading_of_another_form_is_found(heading):
    planted = f'def _f(x):\n    """Return x.\n\n    {heading}:\n        x: a number.\n    """'
    assert google(planted) == [heading]


def test_private_names_and_missing_docstrings_are_left_alone():
    assert without_verb('def _f():\n    """A riddle."""\ndef g():\n    pass') == []
