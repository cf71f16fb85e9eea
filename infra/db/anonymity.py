"""Taking a person out of rows that stay: what was done, when and how it ended is kept, and whom it was done to is not.

A contact becomes `erased:<id>` and its attempts likewise, so that counts, ledger and audit go on holding. In a campaign
that goes on it also becomes `opted_out`, because from any other state a late receipt or the next run may lead back to
`ready`, which an erased contact can never be. Lock order as everywhere: contacts by id, then their attempts.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.outcome import AnsweredBy, ProviderStatus
from domain.recording import ACCEPTED

# A provider's own words, which nobody here knows, may name anybody.
KNOWN_WORDS = [ACCEPTED, *ProviderStatus, *AnsweredBy]
# The two parts of a contact's attempts in the ledger are found by two indexes, which is why there are two statements.
# The archive comes after them: what is moved there meanwhile is waited for, and found there by the later statement.
_ATTEMPTS = """
    UPDATE {ledger} SET phone = 'erased:' || contact_id, provider_ref = NULL,
        provider_status = CASE WHEN provider_status = ANY(CAST(:words AS text[])) THEN provider_status END,
        answered_by = CASE WHEN answered_by = ANY(CAST(:words AS text[])) THEN answered_by END
    WHERE contact_id = ANY(CAST(:ids AS bigint[])) AND {which} AND phone LIKE '+%'
"""
_DIALLED = text(_ATTEMPTS.format(ledger="attempts", which="outcome IS DISTINCT FROM 'void'"))
_VOID = text(_ATTEMPTS.format(ledger="attempts", which="outcome = 'void'"))
_ARCHIVED = text(_ATTEMPTS.format(ledger="attempts_archive", which="outcome IS NOT NULL"))
_CONTACTS = text("""
    UPDATE contacts k SET phone = 'erased:' || k.id, user_identifier = NULL, timezone = NULL, variables = '{}',
        due_at = NULL, waiting_for = NULL,
        state = CASE WHEN k.state = 'removed' OR (c.status IN ('ended', 'cancelled') AND k.state <> 'ready')
            THEN k.state ELSE 'opted_out' END
    FROM campaigns c WHERE k.id = ANY(CAST(:ids AS bigint[])) AND c.id = k.campaign_id
""")
_DELIVERIES = text("SELECT forget_deliveries(CAST(:ids AS bigint[]), CAST(:words AS text[]))")


async def anonymise(connection: AsyncConnection, contact_ids: Sequence[int]) -> int:
    """Take the person out of contacts that the caller has locked, none of them dialing; how many attempts they had."""
    ids = {"ids": list(contact_ids)}
    theirs = ids | {"words": KNOWN_WORDS}
    attempts = 0
    for statement in (_DIALLED, _VOID, _ARCHIVED):
        attempts += (await connection.execute(statement, theirs)).rowcount
    await connection.execute(_CONTACTS, ids)
    await connection.execute(_DELIVERIES, theirs)
    return attempts
