"""The table of models: written by the command from the records, up to date in docs/models.md."""

from pathlib import Path

import pytest
import transformers
from typer.testing import CliRunner

from stc_core import InputError
from stc_core.__main__ import cli
from stc_core.models.families import FAMILIES
from stc_core.models.table import SECTION, models_table
from stc_core.readme_sections import write_section

PAGE = Path(__file__).parents[1] / "docs" / "models.md"


def test_the_page_holds_what_the_command_writes(tmp_path):
    """Else: python -m stc_core models --write-readme docs/models.md."""
    copy = tmp_path / "models.md"
    copy.write_bytes(PAGE.read_bytes())
    done = CliRunner().invoke(cli, ["models", "--write-readme", str(copy)])
    assert done.exit_code == 0, done.stderr
    assert copy.read_bytes() == PAGE.read_bytes()
    assert done.stdout.strip() == models_table()


def test_every_family_has_a_whole_line():
    head, _, *lines = models_table().splitlines()
    assert len(lines) == len(FAMILIES)
    for line, family in zip(lines, FAMILIES.values(), strict=True):
        assert line.count("|") == head.count("|") and "\n" not in line
        assert line.startswith(f"| {family.name} | `{family.architectures[0]}` |")
        assert (
            family.card.tokens
            and family.card.hub
            and all(name.count("/") == 1 for name in family.card.hub)
        )


def test_names_of_checkpoints_belong_to_one_family():
    names = [name for family in FAMILIES.values() for name in family.card.hub]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stock_class_opens_configs_of_that_model_type(name):
    family = FAMILIES[name]
    kind = family.classes()[1] if family.classes else getattr(transformers, family.architectures[0])
    assert kind.__name__ == family.architectures[0] and kind.config_class.model_type == name


def test_a_readme_without_the_marks_is_left_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# T\n")
    done = CliRunner().invoke(cli, ["models", "--write-readme", str(readme)])
    assert done.exit_code == 2 and "must hold <!-- models -->" in done.stderr
    assert readme.read_text() == "# T\n"
    with pytest.raises(InputError, match="no text file"):
        write_section(tmp_path / "none.md", SECTION, "x")
