"""Let the pages of ``docs`` link to files of the repository beside it, on the site as elsewhere.

Each file that a page names is copied into the site under ``repository/``; Markdown among them
becomes a page, whose own links are followed in turn.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
WITHIN = "repository"  # folder of the site
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to and ``docs`` does not hold."""
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        file = waiting.pop()
        for link in LINK.findall(file.content_string):
            source = _outside(file.src_uri, link)
            if source is None or files.get_file_from_path(f"{WITHIN}/{source}"):
                continue
            added = File.generated(config, f"{WITHIN}/{source}", abs_src_path=str(ROOT / source))
            files.append(added)
            if added.is_documentation_page():
                waiting.append(added)
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Lead the links of a page to the copies."""
    here = page.file.src_uri

    def led(found: re.Match) -> str:
        source = _outside(here, found[1])
        if source is None:
            return found[1]
        return posixpath.relpath(f"{WITHIN}/{source}", posixpath.dirname(here) or ".")

    return LINK.sub(led, markdown)


def _outside(page: str, link: str) -> str | None:
    """The path in the repository of a file that a page links to; None where ``docs`` holds it."""
    inside = page.startswith(f"{WITHIN}/")
    origin = page.removeprefix(f"{WITHIN}/") if inside else f"docs/{page}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    if target.startswith("docs/") and not inside:
        return None
    return target if os.path.isfile(ROOT / target) else None
