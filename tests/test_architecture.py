"""The table of layers in docs/architecture.md is what the imports are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import stc_core

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `((?:stc_core|viz)\.[\w.]+)` \|([^|]*)\|", re.MULTILINE)
EVERYTHING = "everything above"
ABOVE_ALL = ("stc_core.commands", "stc_core.harness", "viz.whole_page", "viz.app")  # may use it


def table() -> dict[str, set[str]]:
    """{layer: the layers that it may import from}, in the order of the page."""
    allowed: dict[str, set[str]] = {}
    for layer, cell in ROW.findall(PAGE.read_text("utf-8")):
        names = set(re.findall(r"`([\w.]+)`", cell))
        full = {n if n == "stc_core" or n.startswith("viz.") else f"stc_core.{n}" for n in names}
        allowed[layer] = set(allowed) if EVERYTHING in cell else full
    return allowed


ALLOWED = table()
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("stc_core", "viz")
    for path in (ROOT / package).rglob("*.py")
}


def layer_of(module: str) -> str | None:
    """The row with the longest name that leads to the module; None for the packages themselves."""
    fitting = [row for row in ALLOWED if module == row or module.startswith(f"{row}.")]
    return max(fitting, key=len, default=None)


def imported(path: Path) -> set[str]:
    """Modules of this project that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                found.add(whole if whole in MODULES else home(node.module, name.name))
    return {name for name in found if name.partition(".")[0] in ("stc_core", "viz")}


def home(module: str, name: str) -> str:
    """Where a name that the package fetches when it is used comes from."""
    if module == "stc_core" and name in stc_core._HOMES:
        return f"stc_core.{stc_core._HOMES[name]}"
    return "stc_core.record.costs" if (module, name) == ("stc_core", "costs") else module


def test_every_module_is_in_a_layer():
    packages = {"stc_core", "stc_core.shapes", "viz"}  # which hold no more than names
    assert {module for module in MODULES if layer_of(module) is None} == packages


def test_layers_stand_below_what_they_import():
    above: set[str] = set()
    for layer, allowed in ALLOWED.items():
        for name in allowed:
            assert any(row == name or row.startswith(f"{name}.") for row in above), (layer, name)
        above.add(layer)


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_what_the_page_says(layer):
    used: set[str] = set()
    for module, path in MODULES.items():
        if layer_of(module) != layer:
            continue
        for name in imported(path):
            other = layer_of(name) or name
            if other in (layer, "stc_core"):  # the package itself: its version
                continue
            fitting = [a for a in ALLOWED[layer] if other == a or other.startswith(f"{a}.")]
            assert fitting, f"{module} imports {name}"
            used |= set(fitting)
    if layer not in ABOVE_ALL:
        assert used == ALLOWED[layer], "the page names layers that are not imported"
