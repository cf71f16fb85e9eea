"""People who change their minds: they pause, edit, cancel, opt people out, and upload more, by the API."""

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from tests.builders import phone
from tests.simulation.api import Request, ask, token

if TYPE_CHECKING:
    from tests.simulation.world import World

OPEN = {"timezone": "UTC", "windows": [{"days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    "Sunday"], "start": "00:00", "end": "24:00"}]}  # fmt: skip


class Operators:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._chance = world.chance
        self._added = 0

    async def begin(self) -> None:
        """Contacts of the campaigns whose list comes by the API."""
        world = self._world
        for campaign_id, one in zip(world.rows.campaign_ids, world.plan.campaigns, strict=True):
            if one.is_uploaded:
                await self._insist(
                    "POST", f"/api/campaigns/{campaign_id}/cohorts", _users(one.first_phone, one.contacts)
                )

    async def work(self) -> None:
        while self._world.plan.orders:
            await asyncio.sleep(self._chance.expovariate(1.2))
            order = self._chance.choice(self._world.plan.orders)
            self._world.counts[f"order {order}"] += 1
            await getattr(self, f"_{order}")(self._chance.choice(self._world.rows.campaign_ids))

    async def settle(self) -> None:
        """Nobody waits for hours, pauses, caps or quota any more."""
        world = self._world
        await self._insist("PATCH", "/api/organization", {"max_attempts_per_number": None})
        for campaign_id in world.rows.campaign_ids:
            path = f"/api/campaigns/{campaign_id}"
            for _ in range(20):
                shown = await self._insist("GET", path, None)
                if shown["status"] in {"cancelled", "ended"}:
                    break
                if shown["status"] == "active" and _is_open(shown):
                    break
                await self._ask("PUT", f"{path}/status", {"action": "pause"})
                await self._ask("PATCH", path, {"allowed_schedule": OPEN})
                await self._ask("POST", f"{path}/start", {})
                await asyncio.sleep(0.1)

    async def _pause(self, campaign_id: int) -> None:
        path = f"/api/campaigns/{campaign_id}/status"
        await self._ask("PUT", path, {"action": "pause"})
        await asyncio.sleep(self._chance.uniform(0.05, 2))
        await self._ask("PUT", path, {"action": "resume"})

    async def _rate(self, campaign_id: int) -> None:
        rate = self._chance.choice([0.5, 1.0, 3.0, 12.5, 40.0])
        await self._ask("PUT", f"/api/campaigns/{campaign_id}/rate", {"attempts_per_second": rate})

    async def _opt_out(self, _: int) -> None:
        number = self._somebody()
        status, _ = await self._ask("POST", "/api/opt-outs", {"phone_number": number})
        self._opted_out(status, [number])

    async def _bulk(self, _: int) -> None:
        numbers = sorted({self._somebody() for _ in range(3)})
        status, _ = await self._ask("POST", "/api/opt-outs/bulk", {"phone_numbers": numbers})
        self._opted_out(status, numbers)

    def _opted_out(self, status: int, numbers: list[str]) -> None:
        if status in {200, 201}:
            for number in numbers:
                self._world.judge.opted_out.setdefault(number, self._world.weather.now())

    async def _hours(self, campaign_id: int) -> None:
        """The hours end in a few seconds, or have ended, or there are none."""
        path = f"/api/campaigns/{campaign_id}"
        await self._ask("PUT", f"{path}/status", {"action": "pause"})
        schedule = self._chance.choice([OPEN, self._world.plan.campaigns[0].body.get("allowed_schedule", OPEN)])
        await self._ask("PATCH", path, {"allowed_schedule": schedule})
        await self._ask("POST", f"{path}/start", {})

    async def _routes(self, campaign_id: int) -> None:
        """Other weights."""
        path = f"/api/campaigns/{campaign_id}"
        status, shown = await self._ask("GET", path, None)
        if status != 200:
            return
        app = shown["app_config"]
        for config in app["connection_configs"]:
            config["weight"] = self._chance.choice([1, 2, 5])
        await self._ask("PUT", f"{path}/status", {"action": "pause"})
        await self._ask("PATCH", path, {"app_config": {"connection_configs": app["connection_configs"]}})
        await self._ask("POST", f"{path}/start", {})

    async def _add(self, campaign_id: int) -> None:
        self._added += 1
        await self._ask(
            "POST", f"/api/campaigns/{campaign_id}/cohorts", _users(500 + 10 * self._added, self._chance.choice([1, 4]))
        )

    async def _cancel(self, campaign_id: int) -> None:
        if self._chance.random() < 0.3:
            await self._ask("PUT", f"/api/campaigns/{campaign_id}/status", {"action": "cancel"})

    async def _cap(self, _: int) -> None:
        cap = self._chance.choice([None, {"count": 1, "hours": 1}, {"count": 2, "hours": 1}])
        await self._ask("PATCH", "/api/organization", {"max_attempts_per_number": cap})

    async def _trunk(self, _: int) -> None:
        """Another rate of a connection."""
        connection_id = self._chance.choice(self._world.rows.connection_ids)
        rate = self._chance.choice([None, 2.0, 20.0])
        self._world.judge.trunk_changed = self._world.loop.time() + 10
        await self._ask("PATCH", f"/api/connections/{connection_id}", {"max_attempts_per_second": rate})
        self._world.judge.trunk_changed = self._world.loop.time()
        self._world.judge.of_trunks.clear()

    def _somebody(self) -> str:
        one = self._chance.choice(self._world.plan.campaigns)
        return phone(one.first_phone + self._chance.randrange(one.contacts))

    async def _ask(self, method: str, path: str, body: object | None) -> tuple[int, Any]:
        world = self._world
        bearer = f"Bearer {token(world.rows.organization_id)}"
        headers = {"authorization": bearer, "content-type": "application/json"}
        content = b"" if body is None else orjson.dumps(body)
        status, answer = await ask(world.web(), Request(method, path, headers, content))
        world.say(f"{method} {path} {status}")
        world.counts[f"API {method} {status}"] += 1
        if status == 500:
            world.fail(f"{method} {path} was answered {status}: {answer}")
        return status, answer

    async def _insist(self, method: str, path: str, body: object | None) -> Any:
        for _ in range(100):
            status, answer = await self._ask(method, path, body)
            if 200 <= status < 300:
                return answer
            if 400 <= status < 500:
                raise AssertionError(f"{method} {path} was answered {status}: {answer}")
            await asyncio.sleep(0.2)
        raise AssertionError(f"{method} {path} was never answered")


def _users(first: int, many: int) -> dict[str, Any]:
    return {"name": "People", "users": [{"phone_number": phone(first + index)} for index in range(many)]}


def _is_open(shown: dict[str, Any]) -> bool:
    schedule = shown.get("allowed_schedule")
    return schedule is None or schedule == OPEN or _hours(schedule) == _hours(OPEN)


def _hours(schedule: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["start"], one["end"]) for one in schedule.get("windows") or []]
