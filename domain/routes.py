"""Whether the connections a campaign names can carry it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domain.campaign import CampaignSpec, Channel, ConnectionConfig
from domain.errors import Detail
from domain.phone import mask
from domain.spec import told_of


@dataclass(frozen=True, slots=True)
class Carrier:
    """What of a connection bears on who may use it."""

    channel: Channel
    phone_numbers: frozenset[str]


def named_connections(spec: CampaignSpec) -> list[int]:
    """The ids in `connection_configs`, as far as they are sound."""
    return told_of(*map(_its_id, told_of(_configs(spec))))


def _configs(spec: CampaignSpec) -> Iterator[ConnectionConfig]:
    yield from spec.app_config.connection_configs


def _its_id(config: ConnectionConfig) -> Iterator[int]:
    yield config.connection_id


def route_problems(spec: CampaignSpec, carriers: Mapping[int, Carrier]) -> Iterator[Detail]:
    """Everything that is wrong with `connection_configs`; `carriers` are the organization's connections by id."""
    for index, config in enumerate(spec.app_config.connection_configs):
        place = f"app_config.connection_configs.{index}"
        yield from told_of(
            _unknown(config, carriers, place),
            _of_another_channel(spec, config, carriers, place),
            _not_its_numbers(config, carriers, place),
        )


def _unknown(config: ConnectionConfig, carriers: Mapping[int, Carrier], place: str) -> Iterator[Detail]:
    if config.connection_id not in carriers:
        yield Detail(f"{place}.connection_id", f"no connection {config.connection_id}; list yours at /api/connections")


def _of_another_channel(
    spec: CampaignSpec, config: ConnectionConfig, carriers: Mapping[int, Carrier], place: str
) -> Iterator[Detail]:
    carrier = carriers.get(config.connection_id)
    if carrier is not None and carrier.channel is not spec.channel:
        yield Detail(
            f"{place}.connection_id",
            f"connection {config.connection_id} carries {carrier.channel}, the campaign is {spec.channel}",
        )


def _not_its_numbers(config: ConnectionConfig, carriers: Mapping[int, Carrier], place: str) -> Iterator[Detail]:
    carrier = carriers.get(config.connection_id)
    for index, number in enumerate(config.phone_numbers or ()):
        if carrier is not None and number not in carrier.phone_numbers:
            yield Detail(
                f"{place}.phone_numbers.{index}",
                f"{mask(number)} is not a number of connection {config.connection_id}",
            )
