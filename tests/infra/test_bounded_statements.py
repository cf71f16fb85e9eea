"""T4, T7: no statement reaches into another organization.

Whatever touches a table with an organization's rows is bounded by the organization, or by an id that was found under it
before, or goes over all organizations on purpose. What the API uses takes the organization, or stands in a list with
the reason why it need not.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

import infra.db
import workers.web
from tests.conftest import Run

STATEMENTS = sorted(Path(infra.db.__file__).parent.glob("*.py"))
ROUTES = sorted(Path(workers.web.__file__).parent.glob("*.py"))
NOBODYS = {"alembic_version", "scheduler_lease", "archive_reach"}
OF_AN_ORGANIZATION = {
    "organizations", "campaigns", "connections", "cohorts", "contacts", "attempts", "attempts_archive", "opt_outs",
    "people", "suppressions", "erasures", "idempotency_keys", "quota_changes", "quota_ledger", "webhooks",
}  # fmt: skip
# Each row belongs to a row of the table above by this column.
OF_A_ROW = {
    "campaign_revisions": "campaign_id", "campaign_segments": "campaign_id", "campaign_counts": "campaign_id",
    "runs": "campaign_id", "turns": "campaign_id", "rejudgements": "campaign_id", "stopped_numbers": "campaign_id",
    "webhook_deliveries": "campaign_id", "cohort_files": "cohort_id", "rejected_records": "cohort_id",
    "redials": "cohort_id", "inbound_messages": "connection_id",
}  # fmt: skip
VIEWS = {"attempts_ever"}
TABLES = "|".join(OF_AN_ORGANIZATION | OF_A_ROW.keys() | VIEWS)
TOUCHED = re.compile(rf"\b(?:FROM|JOIN|UPDATE|INTO|TABLE|USING)\s+(?:ONLY\s+)?(?:{TABLES})\b")
# An id that the statement is given: `id = :id`, `= ANY(:ids)`, `unnest(CAST(:ids AS …))`, `VALUES (:campaign_id, …)`,
# `json_to_recordset(CAST(:rows AS json)) AS row(id bigint, …)`.
BY_ID = re.compile(
    r"\b(?:id|[a-z]+_id|test_of)\b\s*(?:=|IN\b)\s*(?:ANY\s*\(|\(|CAST\(|coalesce\(CAST\()*:\w"
    r"|(?:unnest|ANY)\(CAST\(:\w*ids?\b|VALUES\s*\(:\w*id\b|SELECT (?:CAST\()?:id\b"
    r"|json_to_recordset\(CAST\(:\w+ AS json\)\)\s+AS \w+\((?:id|[a-z]+_id) bigint\b"
)
# Statements over everybody's rows, by file; the API may use none of them.
OVER_ALL = {
    "archive": {"_OVERDUE"},  # what is to be archived
    "attempts": {"_OF_CLAIM", "_OVERDUE"},  # by a claim's random token; what is to be looked up at its provider
    "audit": {  # the operator's, over the whole installation
        "_COHORTS", "_DOUBLED", "_REVISIONS", "_TRIED", "_STARTED_BY_CAMPAIGN", "_STARTED_BY_CONNECTION", "_CAPS",
        "_TRUNKS", "_SPLIT", "_TROUBLES",
        "_COUNTERS", "_ATTEMPTS",
    },
    "control": {"_OPEN"},  # the scheduler counts what is open
    "counts": {"_LIVE"},  # the operator's view
    "ingest": {"_UNTOUCHED"},  # cohorts that nobody reads
    "organizations": {"_LIST", "_FIND", "_CREATE", "_SAVE"},  # the operator's commands
    "promotion": {"_TO_START", "_TO_END", "_TO_EXHAUST"},  # campaigns whose time has come
    "replies": {"_FORGET"},  # messages that are old
    "rollover": {"_WAITING"},  # campaigns with a run to close
    "status": {"_LAST_START"},  # the operator's view
    "upkeep": {"_UNSETTLED", "_WORTH_FOLDING", "_PUT_OFF", "_FORGET"},  # what is to be swept
    "uploads": {"_ABANDONED"},  # uploads that nobody finished
    "webhook_deliveries": {"_PENDING", "_FORGET"},  # a count for metrics; what is old
}  # fmt: skip
# Of which statements are made, never asked by themselves.
PARTS = {"_COUNTED", "_EXHAUSTED", "_STARTED"}
LOCKED = "takes the row that `lock` found under the organization"
FOUND = "takes the campaign that was found under the organization"
GUARDED = "the id of the campaign that the route found under the organization before"
SIGNED = "the connection that signed the request with its own secret"
HELD = {
    "campaigns.act": LOCKED,
    "campaigns.edit": LOCKED,
    "campaigns.create_trial": FOUND,
    "cohorts.file_parts": "the cohort that `cohort` found under campaign and organization",
    "cohorts.has_file": "the cohort that `cohort` found under campaign and organization",
    "cohorts.rejected_rows": "the cohort that `cohort` found under campaign and organization",
    "connections.delete": LOCKED,
    "connections.edit": LOCKED,
    "connections.spec": LOCKED,
    "connections.prove": "the connection that `connection_of` found under the organization",
    "connections.secrets": "proves who asks, before anything is done for them; else after `connection_of`",
    "contacts.contact": GUARDED,
    "contacts.contacts": GUARDED,
    "contacts.contacts_ahead": GUARDED,
    "contacts.contacts_with": GUARDED,
    "contacts.sample": GUARDED,
    "counts.cohort_counts": FOUND,
    "engine.autocommit": "no statement",
    "engine.snapshot": "no statement",
    "engine.sqlstate": "no statement",
    "ledger.attempts": GUARDED,
    "ledger.history": "the contact that `contact` found under the campaign",
    "quota.daily_quota": "takes the caller's organization itself",
    "redials.create_redial": FOUND,
    "replies.changed": SIGNED,
    "replies.line": SIGNED,
    "replies.note_change": SIGNED,
    "replies.take": SIGNED,
    "reservations.fit": LOCKED,
    "runs.runs": FOUND,
    "schedules.clear": LOCKED,
    "schedules.save": LOCKED,
    "schedules.save_segments": LOCKED,
    "segments.segments": GUARDED,
    "situation.situation": FOUND,
    "uploads.discard": "the cohort that `begin` made in this request",
    "uploads.store": "the cohort that `begin` made in this request",
    "webhook_deliveries.add_test": GUARDED,
    "webhook_deliveries.page_of_deliveries": GUARDED,
    "webhook_deliveries.send_again": GUARDED,
    "webhooks.copy": FOUND,
    "webhooks.is_gone": GUARDED,
    "webhooks.keep": GUARDED,
}


def test_t4_every_table_has_an_organization_or_belongs_to_a_row_that_has(run: Run) -> None:
    columns = run(columns_of_tables)
    tables = {table for table, _, _ in columns}

    assert tables == NOBODYS | OF_AN_ORGANIZATION | OF_A_ROW.keys()
    own = {(table, "organization_id" if table != "organizations" else "id", "NO") for table in OF_AN_ORGANIZATION}
    assert own | {(table, column, "NO") for table, column in OF_A_ROW.items()} <= columns


def test_t7_every_statement_is_bounded_by_the_organization_or_by_an_id() -> None:
    unbounded = {
        (file, name) for file, name, sql in statements() if "organization_id" not in sql and not BY_ID.search(sql)
    }

    assert unbounded == {(file, name) for file, names in OVER_ALL.items() for name in names}


def test_t7_what_the_api_uses_takes_the_organization_or_says_why_not() -> None:
    unbounded = {name for name, function in used().items() if not takes_organization(function)}

    assert unbounded == HELD.keys()


def test_t7_what_takes_the_organization_looks_at_it() -> None:
    heedless = [name for name, function in used().items() if takes_organization(function) and not reads_it(function)]

    assert heedless == []


def test_t7_the_api_uses_nothing_that_goes_over_all_organizations() -> None:
    over_all = {(file, name) for file, names in OVER_ALL.items() for name in names}
    known, reached, left = functions(), set[tuple[str, str]](), list(used())
    while left:
        file, _, name = left.pop().partition(".")
        for one in names_in(known[f"{file}.{name}"]) - {name for file_, name in reached if file_ == file}:
            reached.add((file, one))
            left += [f"{file}.{one}"] if f"{file}.{one}" in known else []

    assert reached & over_all == set()


COLUMNS = """
    SELECT table_name, column_name, is_nullable FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')
"""


async def columns_of_tables(db: AsyncConnection) -> set[tuple[str, str, str]]:
    return {tuple(row) for row in await db.execute(text(COLUMNS))}


def statements() -> Iterator[tuple[str, str, str]]:
    """File, name and text of each constant that touches one of the tables."""
    for source in STATEMENTS:
        for name, sql in constants(ast.parse(source.read_text())).items():
            if TOUCHED.search(sql):
                yield source.stem, name, sql


def constants(tree: ast.Module) -> dict[str, str]:
    """The texts of a file's constants, with those they are made of."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found[ast.unparse(node.targets[0])] = "".join(pieces(node.value, found))
    return {name: sql for name, sql in found.items() if name not in PARTS}


def pieces(node: ast.expr, known: Mapping[str, str]) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
        elif isinstance(one, ast.Name):
            yield known.get(one.id, "")


def test_an_unbounded_statement_would_be_found() -> None:
    tree = ast.parse(
        "_FROM = 'FROM contacts k'\n_A = text(f'SELECT 1 {_FROM} JOIN campaigns c ON c.id = k.campaign_id')"
    )

    assert TOUCHED.search(constants(tree)["_A"])
    assert not BY_ID.search(constants(tree)["_A"])


def functions() -> dict[str, ast.AsyncFunctionDef | ast.FunctionDef]:
    """All of `infra.db`, as `file.name`."""
    return {
        f"{source.stem}.{node.name}": node
        for source in STATEMENTS
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    }


def used() -> dict[str, ast.AsyncFunctionDef | ast.FunctionDef]:
    """Those that the API calls or hands on."""
    known = functions()
    return {name: known[name] for source in ROUTES for name in named_by(ast.parse(source.read_text())) if name in known}


def named_by(tree: ast.Module) -> Iterator[str]:
    files: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infra.db"):
            for one in node.names:
                files[one.asname or one.name] = one.name
                yield f"{(node.module or '').rpartition('.')[2]}.{one.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in files:
            yield f"{files[node.value.id]}.{node.attr}"


def takes_organization(function: ast.AsyncFunctionDef | ast.FunctionDef) -> bool:
    return "organization_id" in {one.arg for one in (*function.args.args, *function.args.kwonlyargs)}


def reads_it(function: ast.AST) -> bool:
    return "organization_id" in names_in(function)


def names_in(function: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
