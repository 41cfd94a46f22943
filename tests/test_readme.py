"""What README and documentation say is true: code runs, links lead somewhere, commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import app
from stc_core.__main__ import cli
from stc_core.benchmark.readme_section import write_readme

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "assets").rglob("README.md")),
]
TEXTS = {path: path.read_text("utf-8") for path in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\((?![a-z]+:)([^)\s]+)\)")
STC = re.compile(r"(?:python -m stc_core|\bstc)((?: .*)?)")
every_page = pytest.mark.parametrize(
    "path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES]
)


def code(text: str) -> list[str]:
    """Lines of blocks, diagrams left out, and inline code, a line break within which is a space."""
    blocks = [block for kind, block in FENCE.findall(text) if kind != "text"]
    lines = [line for block in blocks for line in block.splitlines()]
    return lines + [" ".join(words.split()) for words in INLINE.findall(FENCE.sub("", text))]


def commands(text: str) -> list[list[str]]:
    """The words after ``stc`` or ``python -m stc_core``, of every command line of a page."""
    found = []
    for line in code(text):
        for part in re.split(r"&&|\|\|", line):
            if told := STC.fullmatch(part.strip()):
                found.append(shlex.split(told[1], comments=True))
    return found


OPTIONS = {  # of a group: of all its commands
    name: {
        option
        for each in (command, *getattr(command, "commands", {}).values())
        for one in each.params
        for option in (*one.opts, *one.secondary_opts)
    }
    for name, command in typer.main.get_command(cli).commands.items()
}


def test_the_readme_fits_on_a_page():
    assert len(TEXTS[README].splitlines()) <= 150


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if "```python" in TEXTS[path]],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_its_python_runs_as_it_stands(path, tmp_path):
    """In one process a page, from a folder in which ``assets`` lies as in a checkout."""
    shutil.copytree(ROOT / "assets", tmp_path / "assets")
    script = "\n".join(block for kind, block in FENCE.findall(TEXTS[path]) if kind == "python")
    assert script
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    if path == README:
        assert done.stdout.startswith("green heart - uncompressed: green heart\n")
        assert (tmp_path / "fate.npz").is_file()


@every_page
def test_links_lead_to_something(path):
    for link in LINK.findall(TEXTS[path]):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in heads}


@every_page
def test_files_that_are_named_exist(path):
    for words in code(TEXTS[path]):
        for name in re.findall(r"(?<![\w/.])(?:stc_core|viz|tests|assets)/[\w./-]+", words):
            assert (ROOT / name).exists() or name == "assets/results/gpu", name


@every_page
def test_commands_that_are_named_exist(path):
    for name, *words in (words for words in commands(TEXTS[path]) if words):
        if name.startswith("-"):
            assert name == "--help"
            continue
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= OPTIONS[name], name


@every_page
def test_options_that_are_named_alone_exist(path, capsys):
    """Of the command line, of the page, of the scripts for GPUs or of another program's line."""
    with pytest.raises(SystemExit):
        app.arguments(["--help"])
    known = set().union(*OPTIONS.values(), re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for script in (*(ROOT / "tests" / "gpu").glob("*.py"), ROOT / "tests" / "conftest.py"):
        known |= set(re.findall(r'"(--[a-z-]+)"', script.read_text("utf-8")))
    for words in code(TEXTS[path]):
        if not words.startswith(("pip ", "git ", "mkdocs ", "ruff ", "lmms-eval ")):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", words)) <= known, words


def test_commands_are_found():
    """Else the tests above would prove nothing."""
    assert ["models"] in commands("`stc models`") and [] in commands("`python -m stc_core`")
    assert commands("```\ncd x && stc answer a.mp4 'b c' --json # so\n```") == [
        ["answer", "a.mp4", "b c", "--json"]
    ]
    named = {words[0] for text in TEXTS.values() for words in commands(text) if words}
    assert named >= {"answer", "benchmark", "convert", "evaluate", "models", "speed", "train"}


def test_the_benchmark_page_holds_what_the_command_writes(tmp_path):
    """Else: python -m stc_core benchmark --write-readme docs/benchmark.md."""
    results = ROOT / "assets" / "results"
    page = ROOT / "docs" / "benchmark.md"
    copy = tmp_path / "docs" / "benchmark.md"
    copy.parent.mkdir()
    copy.write_bytes(page.read_bytes())
    summary = json.loads((results / "summary.json").read_text("utf-8"))
    write_readme(copy, summary, tmp_path / "assets" / "results")
    assert copy.read_text("utf-8") == page.read_text("utf-8")


def test_both_ways_to_test_run_the_same_conformance_part():
    lists = [
        set(re.findall(r"tests/[\w/]+\.py", (ROOT / name).read_text("utf-8")))
        for name in (".ci/run", ".github/workflows/test.yml")
    ]
    assert lists[0] and lists[0] == lists[1]
