"""Compare the installed packages with those this program was tested with."""

from __future__ import annotations

import typer

from stc_core.commands.common import user_errors


def versions() -> None:
    """Compare the installed packages with those this program was tested with.

    Exit code 1 where one is missing or outside the tested releases.
    """
    with user_errors():
        from stc_core.versions import installed

        found = installed()
        for one in found:
            print(one)
        if not all(one.tested for one in found):
            raise typer.Exit(1)
