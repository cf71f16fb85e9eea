"""The command line, `outdial`. Commands import what they run when they run it, so that it starts quickly.

What a person can put right is told in two lines on standard error, exit code 2; the rest is a bug with a traceback.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from domain.errors import OutdialError
from workers.org import org
from workers.simulator.command import simulate

Home = Annotated[Path | None, typer.Option(help="The folder of this installation.  [default: .outdial]")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Where the web listens.  [default: 8080]")]


class Commands(TyperGroup):
    """Commands whose errors are told to a person."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OutdialError as error:
            typer.echo(f"error: {error.message}", err=True)
            if error.way_out:
                typer.echo(f"{error.way_out}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    help="Outbound campaigns: exact in their rate, never outside their hours, never dialling anyone twice.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("simulator")(simulate)
app.add_typer(org, name="org")


@app.command()
def up(
    *,
    home: Home = None,
    port: Port = None,
    dialers: Annotated[int, typer.Option(min=1, max=64, help="Dialer processes.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes for uploads and upkeep.")] = 1,
    simulator: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of a simulated provider.")] = None,
    simulator_options: Annotated[str, typer.Option(help="What else to tell the simulator.")] = "",
) -> None:
    """Run everything on this machine, with stores of its own unless their URLs are set."""
    from workers.up.processes import Shape
    from workers.up.run import run_all

    run_all(_settings(home=home, port=port), Shape(dialers, workers, simulator, simulator_options))


@app.command()
def demo(
    *,
    contacts: Annotated[int, typer.Option(min=1, max=100_000, help="Contacts of the campaign.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, max=500, help="Attempts per second.")] = 40.0,
    channel: Annotated[str, typer.Option(help="voice, or sms: with a daily quota, receipts and replies.")] = "voice",
) -> None:
    """Run a campaign against the simulated provider, show it live, audit it, and clean up."""
    from domain.campaign import Channel
    from workers.demo.run import demo as run_demo

    if channel not in set(Channel):
        raise typer.BadParameter(f"'{channel}' is neither voice nor sms", param_hint="--channel")
    raise typer.Exit(run_demo(contacts=contacts, rate=rate, channel=Channel(channel)))


@app.command()
def token(
    *,
    org: Annotated[str, typer.Option(help="Name of the organization.")],
    home: Home = None,
    user: Annotated[str, typer.Option(help="Whom the token stands for.")] = "operator",
    scope: Annotated[str | None, typer.Option(help="Scopes, separated by spaces.  [default: all]")] = None,
    hours: Annotated[float, typer.Option(min=0.01, max=87_600, help="How long it is good for.")] = 24.0,
    create: Annotated[bool, typer.Option("--create", help="Make the organization if need be.")] = False,
    timezone: Annotated[str | None, typer.Option(help="IANA name.  [default: UTC]")] = None,
    region: Annotated[str | None, typer.Option(help="Country of numbers without a country code, like US.")] = None,
    daily_sms_quota: Annotated[int | None, typer.Option(min=0, help="Messages a day.  [default: no limit]")] = None,
    protection_days: Annotated[int | None, typer.Option(min=0, help="Days after a touch.  [default: 0]")] = None,
) -> None:
    """Print a bearer token for an organization, and nothing else."""
    from infra.db.organizations import Wanted
    from workers.token import Grant, issue

    wanted = Wanted(org, timezone, region, daily_sms_quota, protection_days)
    typer.echo(issue(_settings(home=home), wanted, Grant(user, scope, hours), create=create))


@app.command()
def audit(
    *,
    home: Home = None,
    witness: Annotated[Path | None, typer.Option(help="The log of the simulated provider.")] = None,
    logs: Annotated[Path | None, typer.Option(help="A folder of logs, to be searched for phone numbers.")] = None,
) -> None:
    """Check the invariants on the live database, and on a provider's log; exit code 1 when one is broken."""
    from workers.audit import audit as run_audit
    from workers.installation import refuse_nothing, with_stores

    refuse_nothing(_settings(home=home))
    with with_stores(_settings(home=home)) as settings:
        raise typer.Exit(run_audit(settings, witness, logs))


@app.command()
def status(
    *,
    home: Home = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every second, until Ctrl-C.")] = False,
) -> None:
    """Show how campaigns, connections, queues and the scheduler stand."""
    from workers.status.show import status as show_status

    raise typer.Exit(show_status(_settings(home=home), watch=watch))


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest version."""
    from workers.installation import migrate_database
    from workers.runtime import required

    asyncio.run(migrate_database(required(_settings().database_url, "OUTDIAL_DATABASE_URL")))


@app.command()
def web() -> None:
    """Serve the API and the providers' callbacks."""
    from workers.runtime import serve
    from workers.web.app import main

    serve(_settings(), main)


@app.command()
def scheduler() -> None:
    """Grant slots; one works, further ones stand by."""
    from workers.probes import probed
    from workers.runtime import serve
    from workers.scheduler.loop import main

    serve(_settings(), probed(main))


@app.command()
def dialer() -> None:
    """Claim slots and call the provider."""
    from workers.dialer.process import main
    from workers.probes import probed
    from workers.runtime import serve

    serve(_settings(), probed(main))


@app.command()
def worker() -> None:
    """Read uploads and keep house."""
    from workers.ingest.process import main
    from workers.probes import probed
    from workers.runtime import serve

    serve(_settings(), probed(main))


@app.command()
def key() -> None:
    """Print a fresh value for OUTDIAL_ENCRYPTION_KEY."""
    from infra.embedded.secrets import new_encryption_key

    typer.echo(new_encryption_key())


def _settings(**given: object) -> Any:
    """The settings of the environment; what was given as an option goes before."""
    from infra.settings import load_settings

    return load_settings(**{name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    app()
