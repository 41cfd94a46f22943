"""Write the table of models that this program knows, from their records."""

from __future__ import annotations

from stc_core.models.families import FAMILIES, Family
from stc_core.readme_sections import markdown

SECTION = "models"
HEAD = ("family", "stock class", "tokens of a frame", "checked", "notes", "checkpoints")
SUITE, SERVED = "suite", "served files"


def models_table() -> str:
    """Return a table in Markdown with one line for each family."""
    return markdown(HEAD, map(_line, FAMILIES.values()))


def _line(family: Family) -> list[str]:
    ways = [SUITE, SERVED if family.card.served else "", family.card.checked]
    checked = "; ".join(filter(None, ways))
    classes = ", ".join(f"`{name}`" for name in family.architectures)
    hub = ", ".join(family.card.hub)
    return [family.name, classes, family.card.tokens, checked, family.card.about, hub]
