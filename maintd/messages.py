"""What a message about alerts says: a title, a text, and for Alertmanager its list of alerts."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from maintd.alert_store import Item
from maintd.events import LEVELS
from maintd.lives import LINES
from maintd.units import counted
from maintd.values import dataclass

_MOST = 50
"""So many things are one message; what is beyond that is the next."""
_MOST_BYTES = 60_000
"""So long a message may be: Linux has no environment variable of more than 128 KiB, and some servers take less."""
_WORDS = {"wrong": "", "still": "still: ", "over": "over: "}


@dataclass(frozen=True)
class Message:
    """One message to one channel. However often it is sent, it has the same `id`."""

    id: str
    host: str
    items: tuple[Item, ...]
    resend: timedelta

    @property
    def level(self) -> str:
        return max((item.level for item in self.items if item.what != "over"), key=LEVELS.index, default="info")

    @property
    def title(self) -> str:
        bad = [item for item in self.items if item.what != "over"]
        first = max(bad or self.items, key=lambda item: LEVELS.index(item.level))
        counts = [(len(bad), "wrong"), (len(self.items) - len(bad), "over")]
        if len(self.items) == 1:
            return f"[{self.host}] {_WORDS[first.what]}{first.title}"
        said = ", ".join(f"{count} {word}" for count, word in counts if count)
        return f"[{self.host}] {said}: {first.title} and {counted(len(self.items) - 1, 'other')}"

    @property
    def text(self) -> str:
        parts = [_told(item) for item in self.items]
        return "\n\n".join([*parts, f"maintd on {self.host}, message {self.id}"])

    def fields(self) -> dict[str, Any]:
        """What crosses the pipe to the child that sends it."""
        return {
            "id": self.id,
            "host": self.host,
            "level": self.level,
            "title": self.title,
            "text": self.text,
            "alerts": [alert for item in self.items for alert in self._alerts(item)],
        }

    def _alerts(self, item: Item) -> list[dict[str, Any]]:
        """To Alertmanager the same thing at another level is another: those at which it was told before are over."""
        before = [replace(item, what="over", level=level) for level in item.others.split()]
        return [self._alert(one) for one in [item, *before]]

    def _alert(self, item: Item) -> dict[str, Any]:
        """As Alertmanager's API v2 takes it (POST /api/v2/alerts); one that is not told again ends by itself."""
        since, at = datetime.fromisoformat(item.since), datetime.fromisoformat(item.at)
        starts = min(since, at)  # the clock may have gone back meanwhile, and one that ends before it starts is refused
        ends = at if item.what == "over" else at + 3 * self.resend
        return {
            "labels": {
                "alertname": item.name,
                "severity": item.level,
                "instance": self.host,
                "incident": item.id,
            },
            "annotations": {"summary": item.title, "description": item.text, "message": self.id},
            "startsAt": starts.isoformat(),
            "endsAt": max(ends, starts).isoformat(),
        }


def fitting(items: Iterable[Item]) -> int:
    """How many of these, from the first on, are one message; what is left with its title alone is one by itself."""
    count, size = 0, 0
    for item in items:
        size += len(json.dumps(Message("", "", (item,), timedelta()).fields()["alerts"]))
        if count and (count == _MOST or size > _MOST_BYTES or not item.text):
            return count
        count += 1
        if not item.text:
            return count
    return count


def _told(item: Item) -> str:
    lines = item.text.replace(LINES, "\n    ").replace("its log ends: ", "its log ends:\n    ")
    return f"{_WORDS[item.what]}{item.level.upper()} {item.title}\n  {lines}\n  since {item.since}"
