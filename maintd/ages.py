"""How old something is whose time stamp goes by a clock that can be set."""

import time
from collections.abc import Iterable
from typing import Any

from maintd.values import dataclass


@dataclass
class _Stamped:
    """A stamp, how old it was when it was first seen, and when that was and when it was last seen (monotonic)."""

    stamp: float
    age: float
    first: float
    last: float


def age(stamp: float, key: str, memory: dict[str, Any], now: float, away: float = 0.0) -> float:
    """Seconds since `stamp`, where `now` is the wall clock's time, both since the epoch.

    The clock is doubted to be `away` by so much: the stamp is from before it was set, or from after that.

    What earlier looks have seen, which `memory` keeps under `key`, counts more than the wall clock: a stamp that stays
    ages by the time that passes, and one that is new since the last look is at most as old as that.
    """
    seen: dict[str, _Stamped] = memory.setdefault("stamps", {})
    clock, before = time.monotonic(), seen.get(key)
    if before is not None and before.stamp == stamp:
        before.last = clock
        return before.age + clock - before.first
    found = min((ago for ago in (now - stamp, now - stamp - away) if ago >= 0), default=0.0)
    if before is not None:
        found = min(found, clock - before.last)
    seen[key] = _Stamped(stamp, found, clock, clock)
    return found


def keep(keys: Iterable[str], memory: dict[str, Any]) -> None:
    """Forgets the stamps of all others, so that names which come and go do not add up."""
    seen: dict[str, _Stamped] = memory.get("stamps", {})
    for key in seen.keys() - keys:
        del seen[key]
