"""The Space's folder starts here, and what deploy/ says agrees with the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import gradio
import httpx
import yaml
from helpers.process import first_answer, free_port, started
from packaging.requirements import Requirement

from viz.environment import GRADIOS, PREFIX

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / "deploy" / "space"
MAKE = [sys.executable, str(ROOT / "deploy" / "make_space.py")]


def requirements(path: Path) -> list[str]:
    """The requirements of a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def test_the_front_matter_agrees_with_the_package():
    text = (SPACE / "README.md").read_text("utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["sdk"] == "gradio" and (SPACE / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60 and front["license"] == "apache-2.0"
    named = requirements(SPACE / "requirements.txt")
    assert named == requirements(ROOT / "requirements.txt")
    (needed,) = [one for one in map(Requirement, named) if one.name == "gradio"]
    assert front["sdk_version"] in needed.specifier
    assert front["sdk_version"].split(".")[:2] == gradio.__version__.split(".")[:2]
    lowest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert tuple(map(int, front["python_version"].split("."))) >= (3, int(lowest[1]))
    for name in re.findall(rf"{PREFIX}[A-Z_]+", text):
        assert f"`{name}`" in (ROOT / "docs" / "hosting.md").read_text("utf-8")


def test_the_space_starts_from_its_folder_alone(tmp_path):
    folder = tmp_path / "space"
    subprocess.run([*MAKE, str(folder)], check=True)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    given = {"GRADIO_SERVER_PORT": str(port), "SPACE_HOST": "me-tokens.hf.space"}
    log = tmp_path / "log.txt"
    env = kept | given | {"TMPDIR": str(tmp_path)}
    with started([sys.executable, "app.py"], folder, env, log) as process:
        url = f"http://127.0.0.1:{port}"
        page = first_answer(url, process, log, headers={"Host": "me-tokens.hf.space"})
        assert page.status_code == 200 and "Where do the video tokens go?" in page.text
        assert httpx.get(url, headers={"Host": "evil.com"}).status_code == 421
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "embedded"


def test_a_space_is_not_made_inside_the_checkout(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder, words in ((ROOT / "x", "outside of this checkout"), (tmp_path / "file", "a file")):
        ended = subprocess.run([*MAKE, str(folder)], capture_output=True, text=True)
        assert ended.returncode == 2 and words in ended.stderr and "Traceback" not in ended.stderr
    assert not (ROOT / "x").exists() and (tmp_path / "file").read_text() == "x"


def test_the_dockerfile_copies_what_the_page_needs():
    text = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert {"requirements.txt", "app.py", "stc_core", "viz", "assets"} == set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert all(f"{name}=" in text for name in GRADIOS.values())
