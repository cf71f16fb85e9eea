"""Whether the connections a campaign names can carry it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domain.campaign import CampaignSpec, Channel, ConnectionConfig
from domain.errors import Detail
from domain.phone import mask


@dataclass(frozen=True, slots=True)
class Carrier:
    """What of a connection bears on who may use it."""

    channel: Channel
    phone_numbers: frozenset[str]


def route_problems(spec: CampaignSpec, carriers: Mapping[int, Carrier]) -> tuple[Detail, ...]:
    """Everything that is wrong with `connection_configs`; `carriers` are the organization's connections by id."""
    return tuple(
        problem
        for index, config in enumerate(spec.app_config.connection_configs)
        for problem in _problems(config, carriers.get(config.connection_id), spec.channel, index)
    )


def _problems(config: ConnectionConfig, carrier: Carrier | None, channel: Channel, index: int) -> Iterator[Detail]:
    place = f"app_config.connection_configs.{index}"
    if carrier is None:
        yield Detail(f"{place}.connection_id", f"no connection {config.connection_id}; list yours at /api/connections")
        return
    if carrier.channel is not channel:
        yield Detail(
            f"{place}.connection_id",
            f"connection {config.connection_id} carries {carrier.channel}, the campaign is {channel}",
        )
    for number_index, number in enumerate(config.phone_numbers or ()):
        if number not in carrier.phone_numbers:
            yield Detail(
                f"{place}.phone_numbers.{number_index}",
                f"{mask(number)} is not a number of connection {config.connection_id}",
            )
