"""Rules of the layers that no import table shows: what may be used in which folder.

Each rule walks the tree with ``ast`` and names the file that breaks it. That it would is tested on
planted files.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = {"stc_core", "viz"}
# how hooks reach into a stock model: nothing of it is an interface that transformers promises
INTERNALS = {
    "register_forward_hook",
    "register_forward_pre_hook",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_attn_implementation",
    "_attn_implementation_internal",
    "ALL_ATTENTION_FUNCTIONS",
}


def packages(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports anywhere in it, its own left out."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from {name.partition(".")[0] for name in names} - OWN


def at_import(path: Path) -> Iterator[str]:
    """Top-level packages that are imported when the file is: not inside functions."""
    waiting = list(ast.parse(path.read_text("utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                waiting += [child for child in ast.iter_child_nodes(node)]


def internals(path: Path) -> Iterator[str]:
    """Internals of models that a file touches, and methods ``forward`` that it replaces."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        name = getattr(node, "attr", getattr(node, "id", ""))
        if name in INTERNALS:
            yield name
        if isinstance(node, ast.ImportFrom):
            yield from INTERNALS & {alias.name for alias in node.names}
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Attribute) and t.attr == "forward" for t in targets):
            yield "forward ="


def imported_tests(path: Path) -> list[str]:
    """Return the test modules that a file imports anywhere in it, by whichever path."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(alias.name for alias in node.names)]
    known = {path.stem for path in files("tests") if path.stem.startswith("test_")}
    return [name for name in names if known & set(name.split("."))]


def plain(path: Path) -> list[str]:
    asked_for = {"rerun"} - set(at_import(path))  # an optional package, once a file is asked for
    known = {*sys.stdlib_module_names, "numpy", *asked_for}
    return [name for name in packages(path) if name not in known]


def uses(*banned: str):
    return lambda path: [name for name in packages(path) if name in banned]


def loads(*banned: str):
    return lambda path: [name for name in at_import(path) if name in banned]


RULES = {
    "record is numpy and plain Python": ("stc_core/record", plain),
    "methods see bare tensors": ("stc_core/methods", uses("transformers", "gradio", "cv2", "av")),
    "stc_core knows no page": ("stc_core", uses("gradio")),
    "stc_core draws only when asked": ("stc_core", loads("matplotlib", "umap", "cv2.gapi")),
    "pictures need no page and no model": ("viz/pictures", uses("gradio", "torch", "transformers")),
    "the server is no page": ("viz/server", uses("gradio")),
    "viz sees no model": ("viz", loads("torch", "transformers")),
    "tests share helpers, not each other": ("tests", imported_tests),
}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule):
    folder, broken = RULES[rule]
    assert files(folder)
    found = {str(path.relative_to(ROOT)): bad for path in files(folder) if (bad := broken(path))}
    assert not found, f"{rule}: {found}"


def test_only_hooks_touch_the_internals_of_models():
    hooks = ROOT / "stc_core" / "hooks"
    found = {
        str(path.relative_to(ROOT)): bad
        for folder in OWN
        for path in files(folder)
        if hooks not in path.parents and (bad := list(internals(path)))
    }
    assert not found


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("record is numpy and plain Python", "def f():\n    import torch"),
        ("record is numpy and plain Python", "from scipy.stats import norm"),
        ("methods see bare tensors", "import transformers.models"),
        ("stc_core knows no page", "import gradio as gr"),
        ("stc_core draws only when asked", "if True:\n    import matplotlib.pyplot"),
        ("pictures need no page and no model", "def f():\n    from torch import nn"),
        ("the server is no page", "def f():\n    import gradio"),
        ("viz sees no model", "try:\n    import torch\nexcept ImportError:\n    pass"),
        ("tests share helpers, not each other", "from test_trace import full"),
        ("tests share helpers, not each other", "def f():\n    import tests.viz.test_runs as runs"),
        ("tests share helpers, not each other", "from tests.methods import test_methods"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, rule, line):
    planted = tmp_path / "planted.py"
    planted.write_text(line)
    assert RULES[rule][1](planted)


@pytest.mark.parametrize(
    "line",
    [
        "module.register_forward_hook(f)",
        "model.config._attn_implementation",
        "layer.forward = mine",
        "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS",
    ],
)
def test_a_planted_hand_in_a_model_is_found(tmp_path, line):
    planted = tmp_path / "planted.py"
    planted.write_text(line)
    assert list(internals(planted))
