"""`outdial org`: organizations, for those who run an installation. What a value may be is `domain.organization`'s."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from infra.db.organizations import Organization

T = TypeVar("T")
NONE = "none"
PLAIN_WIDTH = 200

Name = Annotated[str, typer.Argument(help="Name of the organization.")]
Home = Annotated[Path | None, typer.Option(help="The folder of this installation.  [default: .outdial]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="IANA name, like Europe/Berlin.")]
Region = Annotated[str | None, typer.Option(help="Country of numbers without a country code, like US; or none.")]
Quota = Annotated[str | None, typer.Option("--daily-sms-quota", help="Messages a day; or none: no limit.")]
Protection = Annotated[str | None, typer.Option("--protection-days", help="Days without a touch after a touch.")]
Cap = Annotated[
    str | None, typer.Option("--max-attempts", help="Attempts per number, like 3/24: 3 in 24 hours; or none.")
]
Retention = Annotated[str | None, typer.Option("--retention-days", help="Days after a campaign's end; or none: keep.")]

org = typer.Typer(help="Show and change organizations.", no_args_is_help=True)


@org.command("list")
def listed(*, home: Home = None, as_json: AsJson = False) -> None:
    """List all organizations."""
    from infra.db.organizations import organizations

    _print(_do(home, organizations), as_json=as_json)


@org.command()
def show(name: Name, *, home: Home = None, as_json: AsJson = False) -> None:
    """Show one organization."""
    _print([_do(home, lambda connection: _found(connection, name))], as_json=as_json)


@org.command()
def create(
    name: Name,
    *,
    home: Home = None,
    as_json: AsJson = False,
    timezone: Zone = None,
    region: Region = None,
    quota: Quota = None,
    protection: Protection = None,
    cap: Cap = None,
    retention: Retention = None,
) -> None:
    """Make an organization; what is not given gets its default."""
    from infra.db.organizations import create_organization, edit_organization

    edit = _edit(timezone, region, quota, protection, cap, retention)

    async def made(connection: "AsyncConnection") -> "Organization":
        return await edit_organization(connection, await create_organization(connection, _name(name)), edit)

    _print([_do(home, made, anew=True)], as_json=as_json)


@org.command("set")
def change(
    name: Name,
    *,
    home: Home = None,
    as_json: AsJson = False,
    timezone: Zone = None,
    region: Region = None,
    quota: Quota = None,
    protection: Protection = None,
    cap: Cap = None,
    retention: Retention = None,
) -> None:
    """Change an organization; what is not given stays."""
    from infra.db.organizations import edit_organization

    edit = _edit(timezone, region, quota, protection, cap, retention)

    async def changed(connection: "AsyncConnection") -> "Organization":
        return await edit_organization(connection, (await _found(connection, name)).id, edit)

    _print([_do(home, changed)], as_json=as_json)


def _edit(*texts: str | None) -> Any:
    """The edit that the options ask for; InvalidError names every one that is wrong."""
    from pydantic import ValidationError

    from domain.organization import OrganizationEdit
    from domain.validation import invalid

    given = {name: read(text) for (name, read), text in zip(_FIELDS, texts, strict=True) if text is not None}
    try:
        return OrganizationEdit.model_validate(given)
    except ValidationError as error:
        raise invalid(error, given) from None


def _text(text: str) -> str | None:
    return None if text == NONE else text


def _number(text: str) -> object:
    """A number, or what was typed instead, for the rule that refuses it to show."""
    return int(text) if text.isdecimal() else _text(text)


def _cap(text: str) -> object:
    count, slash, hours = text.partition("/")
    return {"count": _number(count), "hours": _number(hours)} if slash else _text(text)


_FIELDS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("timezone", _text),
    ("default_region", _text),
    ("daily_sms_quota", _number),
    ("contact_protection_days", _number),
    ("max_attempts_per_number", _cap),
    ("retention_days", _number),
)


def _name(name: str) -> str:
    from domain.errors import InvalidError
    from domain.organization import LONGEST_NAME

    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidError(f"the name has {len(name)} characters", f"give 1 to {LONGEST_NAME}")
    return name


async def _found(connection: "AsyncConnection", name: str) -> "Organization":
    from domain.errors import NotFoundError
    from infra.db.organizations import organization, organization_named

    organization_id = await organization_named(connection, name)
    found = None if organization_id is None else await organization(connection, organization_id)
    if found is None:
        raise NotFoundError(f"there is no organization '{name}'", "see `outdial org list`, or make it")
    return found


def _do(home: Path | None, step: "Callable[[AsyncConnection], Awaitable[T]]", *, anew: bool = False) -> T:
    """Do a step in one transaction on this installation's database, which is started if it is embedded, and made only
    with `anew`.
    """
    from infra.settings import load_settings
    from workers.installation import refuse_nothing, with_stores
    from workers.runtime import required

    installed = load_settings(**({} if home is None else {"home": home}))
    if not anew:
        refuse_nothing(installed)
    with with_stores(installed) as settings:
        return asyncio.run(_in_transaction(required(settings.database_url, "OUTDIAL_DATABASE_URL"), step))


async def _in_transaction(url: str, step: "Callable[[AsyncConnection], Awaitable[T]]") -> T:
    from infra.db.engine import create_engine

    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            return await step(connection)
    finally:
        await engine.dispose()


def _print(found: "Sequence[Organization]", *, as_json: bool) -> None:
    shown = [_shown(one) for one in found]
    if as_json:
        import orjson

        typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    elif not shown:
        typer.echo("there is no organization yet; make one with `outdial org create NAME`")
    else:
        _table(shown)


def _shown(one: "Organization") -> dict[str, object]:
    cap = one.max_attempts_per_number
    return {
        "organization_id": one.id,
        "name": one.name,
        "timezone": one.timezone,
        "default_region": one.default_region,
        "daily_sms_quota": one.daily_sms_quota,
        "contact_protection_days": one.contact_protection_days,
        "max_attempts_per_number": cap and cap.model_dump(),
        "retention_days": one.retention_days,
    }


def _table(shown: Sequence[Mapping[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "name", "time zone", "region", "messages a day", "protection", "attempts per number", "kept")
    for one in shown:
        table.add_row(*(_cell(name, value) for name, value in one.items()))
    console = Console()
    (console if console.is_terminal else Console(width=PLAIN_WIDTH)).print(table)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return _UNSET[name]
    if name == "max_attempts_per_number":
        return f"{value['count']} in {value['hours']} h"
    return f"{value} days" if name.endswith("_days") else str(value)


_UNSET = {
    "default_region": "international",
    "daily_sms_quota": "no limit",
    "max_attempts_per_number": "no limit",
    "retention_days": "for ever",
}
