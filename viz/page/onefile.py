"""One trace as one HTML file: the workspace, opened from disk, without a server or a network.

``python -m viz.onefile TRACE.npz OUT.html`` writes it; exit code 2 and one sentence for bad input.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from pathlib import Path

from stc_core.errors import InputError
from stc_core.record.trace import Trace
from stc_core.text import readable
from stc_core.writing import writing_errors, written_whole
from viz.examples import Known
from viz.page.cards import escape
from viz.pictures.words import alive
from viz.server.runner import sentence
from viz.workspace.bundle import pack, sprite
from viz.workspace.component import script, style

# What the file may do: run the one script that it carries and read what it holds itself.
POLICY = (
    "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src data:; base-uri 'none'; form-action 'none'"
)
START = """
const workspace = mount(document.querySelector('.workspace'));
workspace.show(JSON.parse(document.getElementById('data').textContent));
"""
LOOKS = """
body { margin: 0 auto; max-width: 1180px; padding: 1.2rem; color: #1b1f24; background: #fff;
  font-family: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: .15rem .9rem; margin: 0;
  font-size: .88rem; }
dt { color: #57606a; }
dd { margin: 0; overflow-wrap: anywhere; }
main { margin: 1rem 0; }
"""


def write(trace: Trace, path: str | os.PathLike, about: Known | None = None) -> Path:
    """Write the report; the file appears whole or not at all.

    Parameters
    ----------
    about : Known, optional
        The right answer and the evidence, where the world that made the clip knows them.

    Raises
    ------
    InputError
        Where nothing can be written at ``path``.
    """
    path = Path(path)
    with writing_errors(path), written_whole(path) as partial:
        partial.write_text(page(trace, about), encoding="utf-8")
    return path


def page(trace: Trace, about: Known | None = None) -> str:
    """Return the whole file as text."""
    code = f"(() => {{\n{script()}\n{START}}})();"
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    pictures = sprite(trace)
    data = {
        "bundle": _url("application/octet-stream", pack(trace, about)),
        "sprite": _url("image/jpeg", pictures) if pictures else None,
    }
    title = escape(trace.question or "A trace of video tokens")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY.format(digest=digest)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{LOOKS}.report {{ {style()} }}</style>
</head>
<body>
<header><h1>{title}</h1>{_caption(trace, about)}</header>
<main class="report"><div class="workspace"></div></main>
<script type="application/json" id="data">{json.dumps(data)}</script>
<script>{code}</script>
</body>
</html>
"""


def _caption(trace: Trace, about: Known | None) -> str:
    """Answers and configuration: what a reader needs to make the run again."""
    facts = {
        "Answer": trace.answer,
        "Uncompressed": trace.baseline.get("answer"),
        "Right answer": about.answer if about else None,
        "Method": trace.method,
        "Model": trace.model,
        "Tokens": alive(trace),
        "Positions": trace.positions,
        **{f"Note {number}": note for number, note in enumerate(trace.notes, 1)},
    }
    rows = (f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v is not None)
    return f"<dl>{''.join(rows)}</dl>"


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m viz.onefile", description=__doc__.split("\n")[0]
    )
    parser.add_argument("trace", metavar="TRACE.npz", type=Path)
    parser.add_argument("output", metavar="OUT.html", type=Path)
    args = parser.parse_args(argv)
    try:
        print(readable(str(write(Trace.load(args.trace), args.output))))
    except InputError as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
