"""`/api/organization`: what holds for all campaigns of the caller's organization."""

from fastapi import APIRouter, Depends
from pydantic import Field

from domain.attempt_cap import AttemptCap
from domain.organization import OrganizationEdit
from infra.db.organizations import edit_organization
from workers.web.answers import Answer, Millis
from workers.web.asked import json_only
from workers.web.auth import Admin, Reader, TheRuntime

router = APIRouter(prefix="/api/organization", tags=["organization"], dependencies=[Depends(json_only)])


class OrganizationAnswer(Answer):
    """Null: no default region, no daily quota, no cap, kept for ever, no confirmation of a STOP or START."""

    organization_id: int = Field(validation_alias="id")
    name: str
    timezone: str
    default_region: str | None
    daily_sms_quota: int | None
    contact_protection_days: int
    max_attempts_per_number: AttemptCap | None
    retention_days: int | None
    stop_reply: str | None
    start_reply: str | None
    created_at: Millis


@router.get("", summary="Show your organization")
async def look(caller: Reader) -> OrganizationAnswer:
    return OrganizationAnswer.model_validate(caller.organization)


@router.patch("", summary="Change your organization")
async def edit(runtime: TheRuntime, body: OrganizationEdit, caller: Admin) -> OrganizationAnswer:
    """Fields that are absent stay. Attempts that are granted already keep what held then."""
    async with runtime.database.begin() as connection:
        edited = await edit_organization(connection, caller.organization_id, body)
    return OrganizationAnswer.model_validate(edited)
