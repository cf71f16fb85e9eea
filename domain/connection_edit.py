"""What an edit makes of a connection. Its secret is never shown, so an edit that leaves it out keeps it."""

from collections.abc import Iterable, Iterator

from domain.campaign import PhoneNumbers, Rate
from domain.connection import Concurrency, ConnectionName, ConnectionSpec, HttpSettings, Secret
from domain.errors import Detail
from domain.public_url import Url, url_problem
from domain.spec import Problem, Spec, overlaid, taken_away


class SettingsEdit(Spec):
    url: Url | None = None
    secret: Secret | None = None
    previous_secret: Secret | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (taken_away(self, HttpSettings),)


class ConnectionEdit(Spec):
    """The body of `PATCH /api/connections/{id}`: fields that are absent stay."""

    name: ConnectionName | None = None
    settings: SettingsEdit | None = None
    phone_numbers: PhoneNumbers | None = None
    max_attempts_per_second: Rate | None = None
    max_concurrent_attempts: Concurrency | None = None

    def rules(self) -> Iterable[Iterable[Problem]]:
        return (taken_away(self, ConnectionSpec),)


def edited(spec: ConnectionSpec, edit: ConnectionEdit) -> ConnectionSpec:
    """The connection after an edit."""
    after = overlaid(spec, edit)
    if edit.settings is None:
        return after
    return after.model_copy(update={"settings": overlaid(spec.settings, edit.settings)})


def connection_problems(edit: ConnectionSpec | ConnectionEdit, *, private_allowed: bool) -> Iterator[Detail]:
    """What is wrong with a connection that is created, or edited, as far as it is sound."""
    url = edit.settings and edit.settings.url
    if url and not private_allowed and (problem := url_problem(url)):
        yield Detail("settings.url", problem)
