"""List the model families that this program opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import user_errors


def models(
    write_readme: Annotated[
        Path | None,
        typer.Option(help="Also write the table between <!-- models --> and its end mark."),
    ] = None,
) -> None:
    """List the families of models that this program opens."""
    with user_errors():
        from stc_core.models.table import SECTION, models_table
        from stc_core.readme_sections import write_section

        if write_readme is not None:
            write_section(write_readme, SECTION, models_table())
        print(models_table())
