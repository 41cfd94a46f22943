"""Fill a folder with what a Space needs: ``python deploy/make_space.py FOLDER``.

The package lies beside ``app.py``, since a Space installs only what requirements.txt names.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("stc_core", "viz", "assets")


def fill(folder: Path) -> None:
    """Copy the Space's own files and the package into a folder."""
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "deploy" / "space", folder, dirs_exist_ok=True, ignore=no_caches)
    for name in BESIDE:
        shutil.rmtree(folder / name, ignore_errors=True)  # what an earlier release had
        shutil.copytree(ROOT / name, folder / name, ignore=no_caches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a clone of the Space's repository, or a new one")
    folder = parser.parse_args().folder.resolve()
    if folder.is_relative_to(ROOT) or ROOT.is_relative_to(folder):
        parser.error("the folder must lie outside of this checkout; name another one")
    if folder.exists() and not folder.is_dir():
        parser.error(f"{folder.name} is a file; name a folder")
    try:
        fill(folder)
    except OSError as error:
        parser.error(f"cannot write to {folder}: {error.strerror or error}")


if __name__ == "__main__":
    main()
