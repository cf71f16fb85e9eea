"""What goes wrong, when and to whom: a shuffled deck of faults, dealt over the time there is. Several may overlap.

The same seed deals the same cards. Each fault heals by itself: what was killed is started again by the supervisor,
what was frozen or cut off goes on after its time.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import redis

from tests.chaos.proxy import Fault, Proxy
from tests.chaos.site import ROLES, Site
from workers.up.supervisor import Watched

# The last faults are healed before the time is over.
DEALT_WITHIN = 0.97
REACH = 12
LOOK_SECONDS = 0.05
Act = Callable[[], object]


@dataclass(slots=True)
class Nemesis:
    """`done` counts what was done, in the words of `tests.chaos.deck`, and other faults in their own."""

    site: Site
    chance: random.Random
    lease_seconds: float
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    _frozen: set[int] = field(default_factory=set)
    _later: list[tuple[float, Act]] = field(default_factory=list)

    def wreak(self, cards: list[str], seconds: float) -> None:
        """Deal the cards evenly over the time, and heal what is still broken at its end."""
        began, many, left = time.monotonic(), len(cards), list(cards)
        pause, next_at = DEALT_WITHIN * seconds / many, began
        while (now := time.monotonic()) - began < seconds:
            if left and now >= next_at and many - len(left) <= (now - began) / pause:
                self._deal(left)
                next_at = now + pause / 2
            self.site.live(LOOK_SECONDS)
            self._heal(time.monotonic())
        self._heal(float("inf"))

    @property
    def cuts(self) -> int:
        return sum(proxy.cuts for proxy in self.site.proxies.values())

    def _deal(self, left: list[str]) -> None:
        """Strike with the first card that finds somebody; those before it come again."""
        for place, card in enumerate(left[:REACH]):
            if said := getattr(self, f"_{card}")():
                self.say(said)
                del left[place]
                return

    def _heal(self, until: float) -> None:
        for entry in [one for one in self._later if one[0] <= until]:
            self._later.remove(entry)
            entry[1]()

    def _after(self, seconds: float, act: Act) -> None:
        self._later.append((time.monotonic() + seconds, act))

    def _victims(self, *roles: str) -> list[Watched]:
        """Who runs, and is not frozen."""
        return [one for one in self.site.watched(*roles) if _pid(one) not in self._frozen]

    def _kill(self) -> str | None:
        victims = self._victims(*ROLES)
        return self._killed(self.chance.choice(victims)) if victims else None

    def _killed(self, victim: Watched) -> str | None:
        if victim.program.child is None:
            return None
        victim.program.child.kill()
        self.done["kill -9"] += 1
        return f"kill -9 {victim.role}"

    def _kill_busy_dialer(self) -> str | None:
        """A dialer that holds claims nobody has reported on. Only what it left behind proves that it held them."""
        busy = [one for one in self._victims("dialer") if self._open_claims(_pid(one))]
        if not busy:
            return None
        victim = self.chance.choice(busy)
        said = self._killed(victim)
        if victim.program.child is None or said is None:
            return None
        victim.program.child.wait()
        left = self._open_claims(victim.program.child.pid)
        if not left:
            self.say(f"{said}, which had just reported on its last claim")
            return None
        self.done["kill -9 with open claims"] += 1
        return f"{said}, with {left} open claims"

    def _open_claims(self, pid: int) -> int:
        rows = self.site.ask(_OPEN_CLAIMS, pid)
        return int(rows[0][0]) if rows else 0

    def _freeze(self) -> str | None:
        """Longer than the lease."""
        victims = self._victims(*ROLES)
        if not victims:
            return None
        victim, seconds = self.chance.choice(victims), self.lease_seconds * self.chance.uniform(1.05, 1.6)
        pid = _pid(victim)
        os.kill(pid, signal.SIGSTOP)
        self._frozen.add(pid)
        self._after(seconds, partial(self._thaw, victim, pid, time.monotonic()))
        return f"froze {victim.role} for {seconds:.1f} s"

    def _thaw(self, victim: Watched, pid: int, since: float) -> None:
        self._frozen.discard(pid)
        if _pid(victim) == pid and victim.is_alive:
            self.done["frozen longer than the lease"] += time.monotonic() - since > self.lease_seconds
            os.kill(pid, signal.SIGCONT)

    def _flush_redis(self) -> str | None:
        said = self._redis(lambda client: client.flushall(), "FLUSHALL")
        self.done["FLUSHALL"] += said is not None
        return said

    def _pause_redis(self) -> str | None:
        seconds = self.chance.uniform(0.5, 4)
        said = self._redis(lambda client: client.client_pause(round(seconds * 1000)), f"redis hung for {seconds:.1f} s")
        self.done["Redis hung"] += said is not None
        return said

    def _redis(self, order: "Callable[[redis.Redis], object]", what: str) -> str | None:
        try:
            with self.site.redis() as client:
                order(client)
        except redis.RedisError:
            return None
        return what

    def _restart_redis(self) -> str | None:
        is_up = self._redis(lambda client: client.ping(), "up")
        number = self.chance.choice([signal.SIGKILL, signal.SIGTERM])
        return self._end_store("redis", "Redis restarted", number) if is_up else None

    def _restart_postgres(self) -> str | None:
        number = self.chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGQUIT])
        return self._end_store("postgres", "PostgreSQL restarted", number) if self.site.ask("SELECT 1") else None

    def _end_store(self, role: str, what: str, number: signal.Signals) -> str | None:
        """The supervisor starts it again."""
        for one in self.site.watched(role):
            if one.program.child is not None:
                one.program.child.send_signal(number)
                self.done[what] += 1
                return f"{number.name} to {role}"
        return None

    def _cut(self) -> str | None:
        name, proxy = self.chance.choice(list(self.site.proxies.items()))
        before = proxy.cuts
        self.site.wire.do(proxy.cut)
        return f"cut {proxy.cuts - before} connections to {name}" if proxy.cuts > before else None

    def _proxy(self) -> str | None:
        healthy = [one for one in self.site.proxies.items() if one[1].fault is Fault.NONE]
        if not healthy:
            return None
        name, proxy = self.chance.choice(healthy)
        fault, seconds = (
            self.chance.choice([one for one in Fault if one is not Fault.NONE]),
            self.chance.uniform(0.3, 4),
        )
        self._order(proxy, fault)
        self._after(seconds, lambda: self.site.wire.do(proxy.heal))
        self.done[f"proxy: {fault}"] += 1
        return f"{fault} before {name} for {seconds:.1f} s"

    def _order(self, proxy: Proxy, fault: Fault) -> None:
        size, delay = self.chance.randrange(200, 60_000), self.chance.uniform(0.02, 0.5)
        self.site.wire.do(lambda: proxy.order(fault, delay_seconds=delay, bytes_left=size))


def _pid(one: Watched) -> int:
    return one.program.child.pid if one.program.child else 0


# A number of a process is another's before long; its claims are of the last seconds.
_OPEN_CLAIMS = """
    SELECT count(*) FROM attempts WHERE outcome IS NULL AND started_at IS NULL
        AND split_part(claimed_by, ':', 2) = CAST(%s AS text) AND claimed_at > clock_timestamp() - interval '5 seconds'
"""
