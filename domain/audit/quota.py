"""Was an organization's daily quota of messages ever exceeded?"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from domain.attempt import EPOCH


@dataclass(frozen=True, slots=True)
class Message:
    """A text message that counts, under the daily quota of its moment; `at` is in microseconds."""

    organization_id: int
    zone: str
    quota: int
    at: int


class QuotaJudge:
    """Takes messages in the order they were claimed, counting them by the organization's local day."""

    def __init__(self) -> None:
        self._sent: Counter[tuple[int, date]] = Counter()

    def breach(self, message: Message) -> str | None:
        day = (EPOCH + timedelta(microseconds=message.at)).astimezone(ZoneInfo(message.zone)).date()
        self._sent[message.organization_id, day] += 1
        if self._sent[message.organization_id, day] <= message.quota:
            return None
        return f"organization {message.organization_id} sent more than {message.quota:,} messages on {day}"
