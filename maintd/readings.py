"""What a check finds: Signs, each with a Health, and the Reading that they come to."""

from collections.abc import Iterable
from enum import StrEnum

from maintd.steps import Finding
from maintd.values import dataclass


class Health(StrEnum):
    """How something is. `unknown` says that it could not be told, which is not the same as bad."""

    UP = "up"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    DOWN = "down"

    @property
    def badness(self) -> int:
        """0 for the best, more for worse."""
        return _BADNESS[self]


_BADNESS = {health: index for index, health in enumerate(Health)}


@dataclass(frozen=True)
class Sign:
    """One thing that a check looked at: how it is, and in words, for people; `advice` says what to do about it."""

    health: Health
    text: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading(Finding):
    """What a check found when it looked once. `error` is a short code of what is wrong, or nothing."""

    health: Health
    error: str = ""
    advice: str = ""
    took_ms: float = 0.0


def up(text: str) -> Sign:
    return Sign(Health.UP, text)


def down(text: str, advice: str = "") -> Sign:
    return Sign(Health.DOWN, text, advice)


def degraded(text: str, advice: str = "") -> Sign:
    return Sign(Health.DEGRADED, text, advice)


def unknown(text: str, advice: str = "") -> Sign:
    return Sign(Health.UNKNOWN, text, advice)


Bound = float | None


def above(value: float, limits: tuple[Bound, Bound], text: str) -> Sign:
    """The sign of a number that is worse the more it is; `limits` are (degraded, down), and what equals one counts."""
    worse, worst = limits
    if worst is not None and value >= worst:
        return down(text)
    return degraded(text) if worse is not None and value >= worse else up(text)


def below(value: float, limits: tuple[Bound, Bound], text: str) -> Sign:
    """The sign of a number that is worse the less it is; `limits` are (degraded, down), and what equals one counts."""
    worse, worst = limits
    return above(-value, (None if worse is None else -worse, None if worst is None else -worst), text)


def gathered(signs: Iterable[Sign]) -> Sign:
    """All signs as one: as bad as the worst of them, which alone are told if any is bad. None are unknown."""
    found = list(signs)
    if not found:
        return unknown("there was nothing to look at")
    worst = max((sign.health for sign in found), key=lambda health: health.badness)
    bad = [sign for sign in found if sign.health is not Health.UP]
    told = sorted(bad or found, key=lambda sign: -sign.health.badness)
    advice = "; ".join(dict.fromkeys(sign.advice for sign in told if sign.advice))
    return Sign(worst, ", ".join(sign.text for sign in told), advice)
