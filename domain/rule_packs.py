"""Named sets of legal calling hours, and of caps on how often one number may be called.

A pack is data with its source. Its hours are those of the person called. It says what the named rule says and no more:
it knows neither public holidays nor exemptions, and is no legal advice.
"""

from dataclasses import dataclass

from domain.attempt_cap import AttemptCap
from domain.open_hours import DAYS, Week


@dataclass(frozen=True, slots=True)
class RulePack:
    """`hours` are (first weekday, last weekday, start, end), Monday = 0, in the zone of the person called.

    `note` says what of the rule the pack does not know.
    """

    name: str
    source: str
    hours: tuple[tuple[int, int, str, str], ...]
    caps: tuple[AttemptCap, ...] = ()
    note: str | None = None

    def windows(self) -> list[tuple[tuple[str, ...], str, str]]:
        """Days by name with start and end, as a schedule is written."""
        return [(DAYS[first : last + 1], start, end) for first, last, start, end in self.hours]

    def week(self) -> Week:
        return tuple(
            tuple((seconds(start), seconds(end)) for first, last, start, end in self.hours if first <= day <= last)
            for day in range(7)
        )


def seconds(clock: str) -> int:
    """The second of the day of `HH:MM`; `24:00` is its end."""
    hours, minutes = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60


_MONDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 4, 5, 6
_A_DAY, _A_WEEK, _THIRTY_DAYS = 24, 7 * 24, 30 * 24
_NO_HOLIDAYS = "public holidays are not known to the pack: pause on them"

RULE_PACKS: dict[str, RulePack] = {
    pack.name: pack
    for pack in (
        RulePack(
            "us-tcpa",
            "47 CFR 64.1200(c)(1): no telephone solicitation to a residential subscriber before 8 a.m. or after 9 p.m. "
            "local time at the called party's location",
            ((_MONDAY, _SUNDAY, "08:00", "21:00"),),
        ),
        RulePack(
            "us-debt-collection",
            "12 CFR 1006.6(b)(1) and 1006.14(b)(2) (Regulation F): before 8 a.m. and after 9 p.m. at the consumer's "
            "location is inconvenient; at most seven calls within seven consecutive days are presumed to comply",
            ((_MONDAY, _SUNDAY, "08:00", "21:00"),),
            (AttemptCap(count=7, hours=_A_WEEK),),
            "the rule counts the calls about each debt, the pack all calls to a number; the seven days without a call "
            "after a conversation are not known to the pack",
        ),
        RulePack(
            "us-florida",
            "Fla. Stat. 501.616(6)(a) and (b): 8 a.m. to 8 p.m. in the called person's time zone, three calls on one "
            "subject in 24 hours",
            ((_MONDAY, _SUNDAY, "08:00", "20:00"),),
            (AttemptCap(count=3, hours=_A_DAY),),
            "the rule counts the calls on one subject, the pack all calls to a number",
        ),
        RulePack(
            "us-oklahoma",
            "Oklahoma Telephone Solicitation Act of 2022 (HB 3168, 15 O.S. 775C.1 and following): 8 a.m. to 8 p.m., "
            "three calls in 24 hours",
            ((_MONDAY, _SUNDAY, "08:00", "20:00"),),
            (AttemptCap(count=3, hours=_A_DAY),),
        ),
        RulePack(
            "ca-crtc",
            "CRTC Unsolicited Telecommunications Rules, Part III (Telemarketing Rules): weekdays 9:00 to 21:30, "
            "weekends 10:00 to 18:00, by the clock of the person called",
            ((_MONDAY, _FRIDAY, "09:00", "21:30"), (_SATURDAY, _SUNDAY, "10:00", "18:00")),
            (),
            "stricter hours of a province are not known to the pack",
        ),
        RulePack(
            "fr-demarchage",
            "Code de la consommation D. 223-9 (décret 2022-1313): Monday to Friday 10:00 to 13:00 and 14:00 to 20:00, "
            "four calls in thirty days",
            ((_MONDAY, _FRIDAY, "10:00", "13:00"), (_MONDAY, _FRIDAY, "14:00", "20:00")),
            (AttemptCap(count=4, hours=_THIRTY_DAYS),),
            _NO_HOLIDAYS,
        ),
        RulePack(
            "au-telemarketing",
            "Telecommunications (Telemarketing and Research Calls) Industry Standard 2017: 9:00 to 20:00 on weekdays, "
            "9:00 to 17:00 on Saturdays, no telemarketing call on Sundays and national public holidays",
            ((_MONDAY, _FRIDAY, "09:00", "20:00"), (_SATURDAY, _SATURDAY, "09:00", "17:00")),
            (),
            _NO_HOLIDAYS,
        ),
    )
}


def known_pack(name: str) -> str:
    """The name itself; ValueError, naming the packs there are, unless it is one of them."""
    if name not in RULE_PACKS:
        raise ValueError(f"there is no rule pack '{name}'; there are {', '.join(sorted(RULE_PACKS))}")
    return name
