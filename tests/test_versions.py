"""What is installed against what was tested, and the requirements that say the same."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from stc_core import load, versions
from stc_core.versions import TESTED, Installed, installed

ROOT = Path(__file__).resolve().parent.parent
INSIDE = ("transformers", "gradio")  # whose internals are relied on


def required(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    found = (line.split("#")[0].strip() for line in lines)
    return {r.name: r for r in map(Requirement, filter(None, found))}


@pytest.mark.parametrize(
    "version, tested",
    [("5.9.9", False), ("5.10", True), ("5.10.1", True), ("5.24.0", True), ("5.24.7", True),
     ("5.25.0", False), ("6.0", False), ("5.24.1.dev0", True), ("5.12rc1+cpu", True)],
)  # fmt: skip
def test_patch_releases_of_the_newest_are_tested(version, tested):
    assert Installed("transformers", version, "5.10", "5.24").tested is tested


def test_a_missing_package_is_not_tested():
    one = Installed("gradio", None, "6.31", "6.31")
    assert not one.tested and "missing" in str(one)


def test_requirements_allow_what_was_tested():
    wanted, oldest = required("requirements.txt"), required("requirements-oldest.txt")
    assert wanted.keys() <= oldest.keys()
    for name, (low, high) in TESTED.items():
        allowed = wanted[name].specifier
        pinned = str(oldest[name].specifier).removeprefix("==")
        assert allowed.contains(pinned)
        assert Version(low).release == Version(pinned).release[: len(low.split("."))]
        assert allowed.contains(high)
    for name in INSIDE:
        number, minor = TESTED[name][1].split(".")
        assert not wanted[name].specifier.contains(f"{number}.{int(minor) + 1}.0")
    for name, requirement in wanted.items():
        assert any(part.operator == "<" for part in requirement.specifier), name


def test_this_environment_is_listed_by_the_command():
    command = [sys.executable, "-m", "stc_core", "versions"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(one) for one in installed()]
    assert done.returncode == (0 if all(one.tested for one in installed()) else 1)


def test_loading_warns_once_of_a_release_that_was_not_tested(monkeypatch):
    monkeypatch.setattr(versions, "_warned", False)
    monkeypatch.setitem(TESTED, "transformers", ("5.90", "5.91"))
    with pytest.warns(UserWarning, match="not tested with transformers .*stc_core versions"):
        load()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load()
