"""`/api/campaigns/validate-contacts`: whom of a list to write to, before it becomes a campaign. Nothing is kept."""

from asyncio import to_thread
from datetime import timedelta

from fastapi import APIRouter, Depends
from starlette.responses import Response

from domain.classification import Review, classify, numbers, without_number
from domain.planning import ValidateContactsRequest
from domain.validation import refused
from infra.db.acquaintances import acquaintances
from infra.db.engine import autocommit
from workers.web.answers import answer
from workers.web.asked import Now, json_only
from workers.web.auth import Reader, TheRuntime
from workers.web.documented import DocumentedRoute, required
from workers.web.planning_answers import ContactLists, ValidateContactsResponse

router = APIRouter(
    prefix="/api/campaigns", tags=["planning"], dependencies=[Depends(json_only)], route_class=DocumentedRoute
)


@router.post(
    "/validate-contacts",
    response_model=ValidateContactsResponse,
    responses=required("contacts"),
    response_description="Classification result returned",
    summary="Classify campaign contacts for the Review step",
)
async def validate_contacts(runtime: TheRuntime, body: ValidateContactsRequest, caller: Reader, now: Now) -> Response:
    """Each contact comes back in one list: protected, of others, written to, known or new, by its number.

    The numbers of thousands are read beside the event loop, which has others to serve.
    """
    if problems := without_number(body.contacts):
        raise refused(problems)
    organization = caller.organization
    phones = await to_thread(numbers, body.contacts, organization.default_region)
    async with autocommit(runtime.database).connect() as connection:
        known = await acquaintances(connection, organization.id, sorted({one for one in phones if one}))
    review = Review(caller.user, now, timedelta(days=organization.contact_protection_days))
    lists = ContactLists.model_validate(classify(body.contacts, phones, known, review))
    return answer(ValidateContactsResponse(success=True, data=lists))
