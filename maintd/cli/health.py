"""How the checks stand and what is alerted, as `maintd status` shows it: as a whole, then each, the worst first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from maintd.cli import output, tables
from maintd.names import enumerated, printable
from maintd.units import counted

_COLOURS = {"up": "green", "degraded": "yellow", "down": "red", "unknown": "yellow"}
_WORST_FIRST = ("down", "degraded", "unknown", "up")


def lines(checks: Sequence[Mapping[str, Any]], paused: Mapping[str, str], now: datetime) -> Iterator[str]:
    """Nothing if there are no checks. Of those that are `paused`, until when."""
    if not checks:
        return
    counts = Counter(check["health"] for check in checks)
    told = [
        output.paint(f"{counts[health]} {health}", fg=_COLOURS[health]) for health in _WORST_FIRST if counts[health]
    ]
    yield f"checks: {', '.join(told)}"
    yield ""
    yield from tables.table(
        [_row(check, paused.get(check["name"], ""), now) for check in checks],
        ("check", "health", "since", "why"),
        below=1,
    )
    yield ""


def alerts(found: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """What is wrong, what is silenced, and which channels cannot be reached; nothing if there is none of it."""
    if found.get("open"):
        names = enumerated([printable(one["title"]) for one in found["open"]])
        yield output.paint(f"alerts: {counted(len(found['open']), 'thing')} wrong: {names}", fg="red")
    for one in found.get("silences", []):
        reason = f" ({printable(one['reason'])})" if one["reason"] else ""
        until = output.moment(one["until"], now)
        yield output.paint(f"silenced: {printable(one['pattern'])} until {until}{reason}", fg="yellow")
    for channel in found.get("channels", []):
        if channel["failing"]:
            waiting = f"{channel['waiting']} waiting to be told"
            yield output.paint(f"channel {channel['name']} cannot be reached: {waiting}", fg="red")


def _row(check: Mapping[str, Any], paused: str, now: datetime) -> list[str]:
    health = check["health"]
    told = f"{health}, flapping" if check["flapping"] else health
    told += ", paused" if paused else ""
    at, bracket, distance = output.moment(check["since"], now).partition("(")
    why = check["reason"]
    if check["last_health"] and check["last_health"] != health and health != "unknown":
        why += f"; at last {check['last_health']}: {check['last_reason']}"
    if check["waits_for"]:
        why += f"; waits for {check['waits_for']}"
    if paused:
        why += f"; not looked at until {paused}"
    return [check["name"], output.paint(told, fg=_COLOURS.get(health)), at + tables.kept(bracket + distance), why]
