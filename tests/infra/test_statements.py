"""Statements are made of constants; what people send is bound to them, never written into them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import infra.db

SOURCES = sorted(Path(infra.db.__file__).parent.glob("*.py"))
VERBS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "FROM", "WHERE", "AND", "ORDER BY", "COPY", "UNION", "SET")
# What statements are made of beside constants, and why nobody outside can choose it.
CHOSEN_HERE = {
    "order(SORT_COLUMNS, page)",  # one of a table's values, by `listing.order`
    "columns[page.sort_by]",  # likewise: what is not in the table raises
    "direction",  # ASC or DESC
    "'DESC' if page.descending else 'ASC'",
    "where",  # conditions of the directory's own table, values bound
    "chosen",  # the statement above it
    "', '.join((f'{name} = :{name}' for name in changes))",  # names of the directory's own columns, values bound
    "'SELECT EXISTS (' + _EXHAUSTED.format(which='c.id = :id') + ')'",
    "_LIST.text.replace('(CAST(:status AS text) IS NULL OR d.status = :status)', \"d.status = 'failed'\")",
    "_columns(Contact)",  # fields of our own dataclasses
    "_columns(Attempt)",
    "_columns(Attempt, 'a.')",
    "_columns(Contact, 'k.')",
    "_columns(CampaignAt, 'c.')",
}


def test_a8_statements_are_made_of_constants() -> None:
    found = {part for source in SOURCES for part in variable_parts(ast.parse(source.read_text()))}

    assert found - CHOSEN_HERE == set()


@pytest.mark.parametrize(
    "written",
    [
        "text(f'SELECT * FROM contacts WHERE phone = {phone}')",
        "text('SELECT {}'.format(phone))",
        "text('SELECT ' + phone)",
        "text('SELECT %s' % phone)",
        "text(phone)",
        "where = f'AND phone = {phone}'",
    ],
)
def test_a_value_written_into_a_statement_is_found(written: str) -> None:
    assert any("phone" in part for part in variable_parts(ast.parse(written)))


def variable_parts(tree: ast.Module) -> Iterator[str]:
    """What is written into SQL and is no constant of a module."""
    for node in ast.walk(tree):
        yield from (ast.unparse(part) for part in written_into(node) if not is_constant(part))


def written_into(node: ast.AST) -> Iterator[ast.expr]:
    """By an f-string, by `format`, or by whatever else is done to a statement as it is made."""
    if isinstance(node, ast.JoinedStr) and is_sql(node):
        yield from (part.value for part in node.values if isinstance(part, ast.FormattedValue))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "text":
        yield from (part for made in node.args for part in made_of(made))


def made_of(made: ast.expr) -> Iterator[ast.expr]:
    if isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and made.func.attr == "format":
        yield from [made.func.value, *made.args, *(keyword.value for keyword in made.keywords)]
    elif not isinstance(made, ast.JoinedStr):
        yield made


def is_sql(node: ast.JoinedStr) -> bool:
    texts = (part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return any(text.strip().startswith(VERBS) for text in texts)


def is_constant(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) or (isinstance(part, ast.Name) and part.id.isupper())
