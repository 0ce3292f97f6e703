"""How old something is whose time stamp goes by a clock that can be set."""

import time
from typing import Any

from maintd.values import dataclass


@dataclass
class _Stamped:
    """A stamp, how old it was when it was first seen, and when that was and when it was last seen (monotonic)."""

    stamp: float
    age: float
    first: float
    last: float


def age(stamp: float, key: str, memory: dict[str, Any], now: float) -> float:
    """Seconds since `stamp`, where `now` is the wall clock's time, both since the epoch.

    What earlier looks have seen, which `memory` keeps under `key`, counts more than the wall clock: a stamp that stays
    ages by the time that passes, and one that is new since the last look is at most as old as that.
    """
    seen: dict[str, _Stamped] = memory.setdefault("stamps", {})
    clock, before = time.monotonic(), seen.get(key)
    if before is not None and before.stamp == stamp:
        before.last = clock
        return before.age + clock - before.first
    found = max(now - stamp, 0.0)
    if before is not None:
        found = min(found, clock - before.last)
    seen[key] = _Stamped(stamp, found, clock, clock)
    return found
