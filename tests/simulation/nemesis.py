"""What goes wrong with processes, stores and the network, and its end."""

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.host import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

ROLES = ("scheduler", "dialer", "dialer", "web", "worker")


class Nemesis:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._chance = world.chance

    async def work(self) -> None:
        """One fault after the other; each ends by itself or when everything is healed."""
        world, plan = self._world, self._world.plan
        while plan.faults:
            await asyncio.sleep(self._chance.expovariate(1 / plan.pause_seconds))
            kind = self._chance.choice(plan.faults)
            world.counts[f"fault {kind}"] += 1
            world.say(f"fault {kind}")
            await getattr(self, f"_{kind}")()

    async def heal(self) -> None:
        """Everybody lives and runs, every store answers."""
        world = self._world
        world.carrier.away_until = world.network.refused_until = world.network.hung_until = 0.0
        world.weather.away_until = world.weather.deaf_until = 0.0
        for process in world.processes:
            if process.is_frozen and not process.is_dead:
                process.thaw()
        wanted = {"scheduler": world.plan.schedulers, "dialer": world.plan.dialers, "worker": 1, "web": 1}
        for role, many in wanted.items():
            for _ in range(many - len(world.alive(role))):
                world.start(role)

    def _victim(self) -> Process | None:
        victims = [one for one in self._world.alive(self._chance.choice(ROLES)) if not one.is_frozen]
        return self._chance.choice(victims) if victims else None

    async def _kill(self) -> None:
        """kill -9; the supervisor starts another after a moment."""
        victim = self._victim()
        if victim is not None:
            self._end(victim)

    async def _kill_busy(self) -> None:
        """A dialer with claims that nobody has reported on yet."""
        for _ in range(50):
            for victim in self._world.alive("dialer"):
                if self._claims(victim):
                    self._end(victim)
                    return
            await asyncio.sleep(0.02)

    def _claims(self, victim: Process) -> int:
        rows = self._world.judge.ask(
            "SELECT count(*) AS n FROM attempts WHERE outcome IS NULL AND started_at IS NULL AND claimed_by LIKE $1",
            f"%:{victim.pid}",
        )
        return int(rows[0]["n"])

    def _end(self, victim: Process) -> None:
        world = self._world
        if victim.role == "dialer" and self._claims(victim):
            world.counts["kill with open claims"] += 1
        world.say(f"kill -9 {victim.role} {victim.pid}")
        victim.kill()
        delay = self._chance.uniform(0.05, 2.0)
        world.loop.call_later(delay, self._start_again, victim.role)

    def _start_again(self, role: str) -> None:
        if not self._world.is_healed:
            self._world.start(role)

    async def _freeze(self) -> None:
        await self._stop(self._chance.uniform(0.3, 3.0))

    async def _short_freeze(self) -> None:
        """What a busy host does to a process."""
        await self._stop(self._chance.uniform(0.005, 0.15))

    async def _stop(self, seconds: float) -> None:
        victim, world = self._victim(), self._world
        if victim is None:
            return
        if seconds > world.settings.lease_seconds:
            world.counts["freeze longer than the lease"] += 1
        world.say(f"freeze {victim.role} {victim.pid} for {seconds:.3f} s")
        victim.freeze()
        world.loop.call_later(seconds, self._thaw, victim)

    def _thaw(self, victim: Process) -> None:
        if victim.is_frozen and not victim.is_dead:
            self._world.say(f"thaw {victim.role} {victim.pid}")
            victim.thaw()

    async def _flush(self) -> None:
        self._world.carrier.flush()

    async def _carrier_away(self) -> None:
        self._world.carrier.away_until = self._world.loop.time() + self._chance.uniform(0.1, 2.0)

    async def _server_away(self) -> None:
        self._world.weather.away_until = self._world.loop.time() + self._chance.uniform(0.1, 2.0)

    async def _server_restart(self) -> None:
        """Every connection is cut, wherever its statement is."""
        for process in self._world.processes:
            for connection in tuple(process.connections):
                connection.terminate()

    async def _deaf(self) -> None:
        """Dialers claim, and do not hear what has become of campaigns."""
        self._world.weather.deaf_until = self._world.loop.time() + self._chance.uniform(1.1, 2.5)

    async def _refuse(self) -> None:
        self._world.network.refused_until = self._world.loop.time() + self._chance.uniform(0.1, 1.0)

    async def _hang(self) -> None:
        self._world.network.hung_until = self._world.loop.time() + self._chance.uniform(0.1, 2.0)
