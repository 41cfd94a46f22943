"""The wheel, built from this tree and installed elsewhere, is a working product.

The checkout is on no path there: what the wheel lacks is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from email.parser import Parser
from pathlib import Path

import httpx
import pytest
from helpers.process import first_answer, free_port, started
from packaging.requirements import Requirement

from stc_core import versions

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("stc_core", "viz", "assets", "setup.py", "pyproject.toml", "README.md", "LICENSE")
EXTRAS = {
    "ray": ["requirements-ray.txt"],
    "large": ["requirements-large.txt"],
    "docs": ["requirements-docs.txt"],
    "dev": ["requirements-dev.txt", "requirements-ray.txt", "requirements-large.txt"],
}
PATIENCE = 120  # seconds

ANSWERS = """
import json, sys
import stc_core
from stc_core.assets_folder import assets_folder

clips = assets_folder() / "clips"
listed = json.loads((clips / "clips.json").read_text("utf-8"))["clips"][0]
known = listed["questions"][0]
found = stc_core.answer(
    stc_core.load(device="cpu"), clips / listed["file"], known["text"],
    stc_core.STC(retention=0.1), frames=listed.get("frames", 32),
)
print(json.dumps({
    "from": stc_core.__file__, "path": sys.path, "text": found.text, "known": known["answer"],
    "tokens": len(found.trace.fate), "kept": sum(found.trace.counts().values()),
}))
"""


class Installed:
    """The wheel and a folder where it is installed, with nothing of the checkout beside it."""

    def __init__(self, folder: Path):
        source, self.place, self.elsewhere = (folder / n for n in ("source", "place", "elsewhere"))
        self.elsewhere.mkdir()
        source.mkdir()
        for part in (*PARTS, *(path.name for path in ROOT.glob("requirements*.txt"))):
            if (ROOT / part).is_dir():
                shutil.copytree(
                    ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / part, source / part)
        pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
        (self.wheel,) = folder.glob("stc_core-*.whl")
        pip("install", self.wheel, "--no-deps", "--target", self.place)
        self.environment = os.environ | {"PYTHONPATH": str(self.place)}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess:
        """Run a command from a folder that knows nothing of the checkout."""
        return subprocess.run(
            list(map(str, command)),
            cwd=self.elsewhere,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def script(self, name: str) -> Path:
        return self.place / "bin" / name


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_every_module_style_script_and_mark_is_installed(installed):
    kinds = {".py", ".js", ".css", ".html", ".typed"}
    for package in ("stc_core", "viz"):
        wanted = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert {path.suffix for path in wanted} <= kinds  # else: say in pyproject.toml what it is
        assert not [path for path in wanted if not (installed.place / path).is_file()]
        assert (installed.place / package / "py.typed").is_file()


def test_what_model_and_page_read_is_installed(installed):
    place = installed.place / "stc_core" / "assets"
    wanted = [*(ROOT / "assets" / "results").glob("results.jsonl*")]
    wanted += [
        path for name in ("model", "clips", "traces") for path in (ROOT / "assets" / name).iterdir()
    ]
    assert len(wanted) > 20
    for path in wanted:
        assert (place / path.relative_to(ROOT / "assets")).read_bytes() == path.read_bytes()


def test_nothing_is_installed_beside_the_two_packages(installed):
    """A module called ``app`` would hide a user's own."""
    names = {path.name for path in installed.place.iterdir()}
    (told,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {told, "bin", "__pycache__"} == {"stc_core", "viz"}


def test_extras_are_the_requirements_files(installed):
    (told,) = installed.place.glob("*.dist-info/METADATA")
    lines = Parser().parsestr(told.read_text("utf-8")).get_all("Requires-Dist")
    found = list(map(Requirement, lines))
    assert {str(one) for one in found if one.marker is None} == listed("requirements.txt")
    for extra, files in EXTRAS.items():
        here = [one for one in found if one.marker and one.marker.evaluate({"extra": extra})]
        assert {str(one).partition(";")[0].strip() for one in here} == listed(*files)


def listed(*files: str) -> set[str]:
    lines = [line for name in files for line in (ROOT / name).read_text("utf-8").splitlines()]
    return {str(Requirement(line)) for line in (x.split("#")[0].strip() for x in lines) if line}


def test_it_answers_about_its_own_clips(installed):
    done = installed.run(sys.executable, "-c", ANSWERS)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["from"]).is_relative_to(installed.place)
    assert str(ROOT) not in said["path"]
    assert said["text"] == said["known"]
    assert said["tokens"] == said["kept"] > 0


def test_the_command_line_is_there(installed):
    done = installed.run(installed.script("stc"), "versions")
    assert done.stdout.splitlines() == [str(one) for one in versions.installed()]
    clip = next((installed.place / "stc_core" / "assets" / "clips").glob("*.mp4"))
    done = installed.run(
        installed.script("stc"),
        "answer",
        clip,
        "how many objects are there?",
        "--frames",
        "4",
        "--device",
        "cpu",
        "--trace",
        "fate.npz",
    )
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert (installed.elsewhere / "fate.npz").is_file()


def test_the_page_opens_on_its_saved_traces(installed, tmp_path):
    port, log = free_port(), tmp_path / "log.txt"
    command = [installed.script("stc-app"), "--port", str(port), "--device", "cpu"]
    env = installed.environment | {"TMPDIR": str(tmp_path)}
    with started(command, installed.elsewhere, env, log) as process:
        answer = first_answer(f"http://127.0.0.1:{port}/", process, log)
        assert answer.status_code == 200
        config = httpx.get(f"http://127.0.0.1:{port}/config", timeout=PATIENCE).json()
        shown = json.dumps(config, ensure_ascii=False)
        traces = sorted((ROOT / "assets" / "traces").glob("*.npz"))
        assert traces and all(path.stem in shown for path in traces)
        assert str(ROOT) not in shown
