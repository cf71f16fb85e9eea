"""What an organization decides for all its campaigns, and how it is changed."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from rphonenumbers import SUPPORTED_REGIONS

from domain.allowed_schedule import ZoneName
from domain.attempt_cap import AttemptCap
from domain.campaign import LONGEST_MESSAGE
from domain.spec import Spec

MOST = 2**31 - 1
LONGEST_NAME = 200
LONGEST_PROTECTION_DAYS = 3650
LONGEST_RETENTION_DAYS = 36_500

ReplyText = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_MESSAGE, pattern=r"\A[^\x00]*\z")]


def known_region(name: str) -> str:
    """The name itself; ValueError unless phone numbers are known for this region."""
    if name not in SUPPORTED_REGIONS:
        raise ValueError(f"'{name}' is not a region; write it as two capital letters, like US")
    return name


class OrganizationEdit(Spec):
    """The body of `PATCH /api/organization`: what is absent stays. The defaults are those of a new organization.

    Null: no default region (international numbers only), no daily quota, no cap, kept for ever, and no confirmation to
    those who opt out, or in again, by replying to a message.
    """

    timezone: ZoneName = "UTC"
    default_region: Annotated[str, AfterValidator(known_region)] | None = None
    daily_sms_quota: Annotated[int, Field(ge=0, le=MOST)] | None = None
    contact_protection_days: Annotated[int, Field(ge=0, le=LONGEST_PROTECTION_DAYS)] = 0
    max_attempts_per_number: AttemptCap | None = None
    retention_days: Annotated[int, Field(ge=1, le=LONGEST_RETENTION_DAYS)] | None = None
    stop_reply: ReplyText | None = None
    start_reply: ReplyText | None = None
