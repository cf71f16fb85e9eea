"""What an installation costs that has nothing to do: `outdial up` as it comes."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench import meter
from tests.bench.site import site

SETTLE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Cores by role, and the megabytes of each process."""

    seconds: float
    cores: dict[str, float]
    memory: dict[str, list[float]]

    @property
    def whole(self) -> float:
        return meter.whole_of(self.cores)


def measure(seconds: float) -> Idle:
    with tempfile.TemporaryDirectory(prefix="outdial-bench-") as folder, site(Path(folder), "", dialers=1) as place:
        time.sleep(SETTLE_SECONDS)
        before, began = place.reading(), time.monotonic()
        time.sleep(seconds)
        lasted, after = time.monotonic() - began, place.reading()
        return Idle(lasted, {role: cpu / lasted for role, cpu in after.since(before).items()}, after.memory)
