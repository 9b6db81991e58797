"""The documents name every command, option, configuration key, table and column."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

import manager
from db.schema import metadata
from lurge import diff, orphan_forms, reporter, tree, users
from lurge.candidates import report as candidates
from lurge.puppeteer import report as puppeteer
from lurge.splitter import index
from lurge_types.config import (
    BaseDirectoryRule,
    Config,
    LdapTable,
    ProjectsTable,
    PseudoGroup,
    VolumeTable,
)
from lurge_types.reports import DIRECTORY_COLUMNS, OTHER

ROOT = Path(manager.__file__).parent
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a table and of the tables in it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation)


def commands() -> Iterator[tuple[str, click.Command]]:
    """All commands, those of groups by both names."""
    context = click.Context(manager.suite)
    for name in manager.suite.list_commands(context):
        command = manager.suite.get_command(context, name)
        assert command
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", of) for each, of in command.commands.items())


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    text = page("commands.md")
    assert f"\n{'###' if ' ' in name else '##'} {name}\n" in text
    below = list(command.commands.values()) if isinstance(command, click.Group) else []
    for parameter in (parameter for each in (command, *below) for parameter in each.params):
        if isinstance(parameter, click.Option):
            assert f"`{parameter.opts[0]}" in text or f"{parameter.opts[0]} " in text, parameter


@pytest.mark.parametrize("name", ["archive", "archive plan"])
def test_what_is_below_a_command_is_documented(name: str) -> None:
    group = dict(commands())[name]
    assert isinstance(group, click.Group)
    for each in group.commands:
        assert f"### archive {each}\n" in page("commands.md") or f"| `{each}` |" in page(
            "commands.md"
        )


@pytest.mark.parametrize(
    "model",
    [Config, VolumeTable, PseudoGroup, BaseDirectoryRule, LdapTable, ProjectsTable],
)
def test_every_configuration_key_is_documented(model: type[BaseModel]) -> None:
    text = page("configuration.md")
    for key in keys(model):
        assert re.search(rf"`\[*{key}\]*`|\b{key}\b = |[{{ ]{key}[,}}]", text), key


def test_every_table_and_column_is_documented() -> None:
    text = page("database.md")
    for table in metadata.sorted_tables:
        assert f"`{table.name}`" in text
        for column in table.columns:
            assert f"`{column.name}`" in text, f"{table.name}.{column.name}"


def test_every_report_is_documented() -> None:
    assert [name for name in manager.REPORTS if f"**{name}**" not in page("commands.md")] == []


def test_every_tsv_column_is_documented() -> None:
    text = page("formats.md")
    columns = (
        *reporter.COLUMNS,
        *DIRECTORY_COLUMNS,
        OTHER,
        *puppeteer.COLUMNS,
        *candidates.COLUMNS,
        *users.COLUMNS,
        *index.HEADER,
    )
    assert [column for column in columns if f"`{column}`" not in text] == []


def test_every_column_of_an_answer_is_documented() -> None:
    text = page("commands.md")
    columns = {
        *tree.COLUMNS,
        *(column for by in diff.NUMBERS for column in diff.columns(by)),
        *(column for by in orphan_forms.COLUMNS.values() for column in by),
    }
    assert [column for column in columns if f"`{column}`" not in text] == []


@pytest.mark.parametrize("document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target
