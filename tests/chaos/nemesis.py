"""What goes wrong, when and to whom: a seeded sequence of faults. The same seed gives the same sequence of orders."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from tests.chaos.proxy import Fault, Proxy
from tests.chaos.site import ROLES, Site
from workers.up.supervisor import Watched

LONGEST_FREEZE_SECONDS = 3.0
SHARES = {
    "kill": 36,
    "kill_busy_dialer": 20,
    "freeze": 10,
    "flush_redis": 8,
    "pause_redis": 3,
    "restart_redis": 8,
    "restart_postgres": 8,
    "cut": 30,
    "proxy": 22,
}


@dataclass(slots=True)
class Nemesis:
    """`done` counts faults by kind; `cut` counts connections that were reset."""

    site: Site
    chance: random.Random
    lease_seconds: float
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)

    def strike(self) -> None:
        """One fault, healed before this returns, except that what was killed may still be starting."""
        kind = self.chance.choices(list(SHARES), list(SHARES.values()))[0]
        done = getattr(self, f"_{kind}")()
        if done:
            self.done[kind] += 1
            self.say(done)

    @property
    def cuts(self) -> int:
        return sum(proxy.cuts for proxy in self.site.proxies.values())

    def _kill(self) -> str | None:
        victims = self.site.watched(*ROLES)
        return _killed(self.chance.choice(victims), "kill -9") if victims else None

    def _kill_busy_dialer(self) -> str | None:
        """A dialer that holds claims nobody has reported on yet."""
        rows = self.site.ask("""SELECT DISTINCT split_part(claimed_by, ':', 2)::int FROM attempts
                                WHERE outcome IS NULL AND started_at IS NULL""")
        holders = {row[0] for row in rows}
        busy = [one for one in self.site.watched("dialer") if one.program.child and one.program.child.pid in holders]
        return _killed(self.chance.choice(busy), "kill -9, with open claims,") if busy else None

    def _freeze(self) -> str | None:
        """Longer than the lease as a rule."""
        victims = self.site.watched(*ROLES)
        if not victims:
            return None
        victim, seconds = self.chance.choice(victims), self.lease_seconds * self.chance.uniform(1.05, 1.6)
        pid = victim.program.child.pid if victim.program.child else 0
        os.kill(pid, signal.SIGSTOP)
        self.site.live(seconds)
        os.kill(pid, signal.SIGCONT)
        return f"froze {victim.role} for {seconds:.1f} s"

    def _flush_redis(self) -> str | None:
        return self._redis(lambda client: client.flushall(), "FLUSHALL")

    def _pause_redis(self) -> str | None:
        seconds = self.chance.uniform(0.5, 4)
        said = self._redis(lambda client: client.client_pause(round(seconds * 1000)), f"redis hung for {seconds:.1f} s")
        self.site.live(seconds)
        return said

    def _redis(self, order: "Callable[[redis.Redis], object]", what: str) -> str | None:
        try:
            with redis.Redis.from_url(self._redis_url()) as client:
                order(client)
        except redis.RedisError:
            return None
        return what

    def _redis_url(self) -> str:
        url = self.site.settings.redis_url
        return url.get_secret_value() if url else ""

    def _restart_redis(self) -> str | None:
        return self._end_store("redis", self.chance.choice([signal.SIGKILL, signal.SIGTERM]))

    def _restart_postgres(self) -> str | None:
        return self._end_store("postgres", self.chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGQUIT]))

    def _end_store(self, role: str, number: signal.Signals) -> str | None:
        """The supervisor starts it again."""
        for one in self.site.watched(role):
            if one.program.child is not None:
                one.program.child.send_signal(number)
                self.site.live(1.0)
                return f"{number.name} to {role}"
        return None

    def _cut(self) -> str:
        name, proxy = self._any_proxy()
        before = proxy.cuts
        self.site.wire.do(proxy.cut)
        return f"cut {proxy.cuts - before} connections to {name}"

    def _proxy(self) -> str:
        name, proxy = self._any_proxy()
        fault = self.chance.choice([one for one in Fault if one is not Fault.NONE])
        seconds = self.chance.uniform(0.3, 4)
        size, delay = self.chance.randrange(200, 60_000), self.chance.uniform(0.02, 0.5)
        self.site.wire.do(lambda: proxy.order(fault, delay_seconds=delay, bytes_left=size))
        self.site.live(seconds)
        self.site.wire.do(proxy.heal)
        return f"{fault} before {name} for {seconds:.1f} s"

    def _any_proxy(self) -> tuple[str, Proxy]:
        name = self.chance.choice(list(self.site.proxies))
        return name, self.site.proxies[name]


def _killed(victim: Watched, what: str) -> str | None:
    if victim.program.child is None:
        return None
    victim.program.child.kill()
    return f"{what} {victim.role}"
