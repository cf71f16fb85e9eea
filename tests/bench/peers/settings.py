"""What a peer's processes are told: through the environment, as such programs are."""

import os
from dataclasses import asdict, dataclass
from typing import Self

PREFIX = "PEER_"


@dataclass(frozen=True, slots=True)
class Peer:
    """`rate` is what its limiter allows a second; `callback_url` is where the provider reports."""

    database_url: str
    redis_url: str
    provider_url: str
    secret: str
    rate: int
    callback_url: str

    @classmethod
    def from_environment(cls) -> Self:
        told = {name: os.environ[PREFIX + name.upper()] for name in cls.__slots__}
        return cls(**told | {"rate": int(told["rate"])})  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        return {PREFIX + name.upper(): str(value) for name, value in asdict(self).items()}
