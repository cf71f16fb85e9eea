"""What a peer's processes are told: through the environment, as such programs are."""

import os
from dataclasses import asdict, dataclass
from typing import Self

PREFIX = "PEER_"
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Peer:
    """`rate` is what its limiter allows a second, `callback_url` where the provider reports.

    The provider's log tells its runs apart by the `campaign`.
    """

    database_url: str
    redis_url: str
    provider_url: str
    secret: str
    rate: int
    callback_url: str
    campaign: int = 0

    @classmethod
    def from_environment(cls) -> Self:
        told = {name: os.environ[PREFIX + name.upper()] for name in cls.__slots__}
        return cls(**told | {"rate": int(told["rate"]), "campaign": int(told["campaign"])})  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        return {PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}
