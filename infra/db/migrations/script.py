"""Migrations are scripts of SQL; the driver takes one statement at a time."""

from alembic import op


def execute(script: str) -> None:
    """Run the statements of a script. One ends where a line ends with `;` outside a function's body."""
    for statement in _statements(script):
        op.execute(statement)


def _statements(script: str) -> list[str]:
    statements, lines, inside = [], [], False
    for line in script.splitlines():
        lines.append(line)
        inside ^= line.count("$$") % 2 == 1
        if line.endswith(";") and not inside:
            statements.append("\n".join(lines))
            lines = []
    return statements
