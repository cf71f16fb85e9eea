"""What is one's own and still in the wrong place. What belongs to others: `test_every_route.py`."""

from sqlalchemy.ext.asyncio import AsyncConnection

from tests import builders
from tests.workers.web.asking import Api


def test_a_cohort_is_found_under_its_own_campaign_only(api: Api) -> None:
    async def two(db: AsyncConnection) -> tuple[int, int]:
        connection_id = await builders.connection(db, api.organization_id)
        first = await builders.campaign(db, api.organization_id, [connection_id])
        second = await builders.campaign(db, api.organization_id, [connection_id])
        return first, await builders.cohort(db, second)

    campaign_id, cohort_id = api.rows(two)

    assert api("GET", f"/api/campaigns/{campaign_id}/cohorts/{cohort_id}").status_code == 404
