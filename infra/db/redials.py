"""Cohorts that are filled from the contacts of another campaign, page by page in the order of their numbers."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.campaign import Status
from domain.cohort import Layout
from domain.contact import ContactState
from domain.outcome import Outcome
from domain.redial import COLUMNS, Choice, Found, Redial
from infra.db.campaigns import Campaign

LAYOUT = Layout(delimiter=",", header=COLUMNS)


@dataclass(frozen=True, slots=True)
class Walk:
    """Whom to take from which campaign, and behind which number to go on."""

    source_campaign_id: int
    choice: Choice
    after_phone: str


_CREATE = text("""
    WITH made AS (
        INSERT INTO cohorts (organization_id, campaign_id, name, source_type, layout, file_bytes, created_by)
        VALUES (:organization_id, :campaign_id, :name, 'redial', CAST(:layout AS jsonb), 0, :by) RETURNING id)
    INSERT INTO redials (cohort_id, source_campaign_id, run, outcomes, states)
    SELECT id, :source_campaign_id, :run, CAST(:outcomes AS text[]), CAST(:states AS text[]) FROM made
    RETURNING cohort_id
""")
_WALK = text("""
    SELECT r.source_campaign_id, r.run, r.outcomes, r.states, r.after_phone, c.status
    FROM redials r JOIN campaigns c ON c.id = r.source_campaign_id WHERE r.cohort_id = :cohort_id
""")
# (campaign_id, phone) is the one index that has every contact of a campaign; the cursor is the number itself, because
# a contact may lose its number on the way.
_PAGE = text("""
    SELECT k.id, k.phone, k.user_identifier, k.timezone, CAST(k.variables AS text) AS variables, k.run, k.state,
        k.stopped, last.outcome
    FROM contacts k LEFT JOIN LATERAL (
        SELECT a.outcome FROM attempts_ever a
        WHERE a.contact_id = k.id AND a.run = :run AND a.outcome IS DISTINCT FROM 'void'
        ORDER BY a.number DESC LIMIT 1) AS last ON true
    WHERE k.campaign_id = :source_campaign_id AND k.phone > :after_phone
    ORDER BY k.phone LIMIT :limit
""")
_MOVE = text("UPDATE redials SET after_phone = :after_phone WHERE cohort_id = :cohort_id")


async def create_redial(connection: AsyncConnection, source: Campaign, copy: Campaign, body: Redial, by: str) -> int:
    """A cohort of the copy, to be filled from the source's present run; send `ingest_cohort` after the commit."""
    values = {
        "organization_id": copy.organization_id,
        "campaign_id": copy.id,
        "name": f"Redial of campaign {source.id}",
        "layout": LAYOUT.model_dump_json(),
        "by": by,
        "source_campaign_id": source.id,
        "run": source.run,
        "outcomes": list(body.outcomes),
        "states": list(body.states),
    }
    return int((await connection.execute(_CREATE, values)).scalar_one())


async def walk(connection: AsyncConnection, cohort_id: int) -> Walk:
    row = (await connection.execute(_WALK, {"cohort_id": cohort_id})).one()
    outcomes, states = frozenset(map(Outcome, row.outcomes)), frozenset(map(ContactState, row.states))
    return Walk(row.source_campaign_id, Choice(outcomes, states, Status(row.status), row.run), row.after_phone)


async def page(connection: AsyncConnection, walk: Walk, limit: int) -> list[Found]:
    """The next contacts of the source, chosen or not."""
    place = {"source_campaign_id": walk.source_campaign_id, "after_phone": walk.after_phone, "run": walk.choice.run}
    rows = await connection.execute(_PAGE, place | {"limit": limit})
    return [
        Found(
            contact_id=row.id,
            phone=row.phone,
            user_identifier=row.user_identifier,
            timezone=row.timezone,
            variables=row.variables,
            state=ContactState(row.state),
            run=row.run,
            outcome=Outcome(row.outcome) if row.outcome else None,
            is_stopped=row.stopped,
        )
        for row in rows
    ]


async def move(connection: AsyncConnection, cohort_id: int, after_phone: str) -> None:
    """Go on behind this number, until the cohort is finished and forgets it."""
    await connection.execute(_MOVE, {"cohort_id": cohort_id, "after_phone": after_phone})
