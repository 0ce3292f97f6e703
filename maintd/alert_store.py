"""What is known of alerts from one life of the daemon to the next: what is wrong, what is to be told, and silences."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from maintd.values import dataclass

TABLES = """
    CREATE TABLE incident (
        key TEXT PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, level TEXT NOT NULL, title TEXT NOT NULL,
        text TEXT NOT NULL, since TEXT NOT NULL, told TEXT NOT NULL, told_at TEXT, fades INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE telling (
        seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, message TEXT, item TEXT NOT NULL
    ) STRICT;
    CREATE TABLE silence (pattern TEXT PRIMARY KEY, until TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
"""
MORE = """
    ALTER TABLE incident ADD COLUMN is_pending INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE incident ADD COLUMN is_worse INTEGER NOT NULL DEFAULT 0;
    UPDATE incident SET is_pending = 1 WHERE told = '';
"""
HEARD = """
    ALTER TABLE incident ADD COLUMN heard TEXT NOT NULL DEFAULT '';
    UPDATE incident SET told = '', is_pending = 1;
"""
CAPPED = """
    CREATE TABLE message (id TEXT PRIMARY KEY, channel TEXT NOT NULL, at TEXT NOT NULL) STRICT;
"""
WORST = """
    ALTER TABLE incident ADD COLUMN worst_text TEXT NOT NULL DEFAULT '';
"""
COUNTED = timedelta(hours=1)
"""For so long a message counts among those that a channel may get."""
Change = tuple[str, Sequence[str | bytes | float | None]]


@dataclass(frozen=True)
class Incident:
    """Something that is wrong since then. `told` are the levels at which it was told, the worst last; or none.

    `heard` are the channels on which it was told, sorted. It `is_pending` while there is something of it that is still
    to be told. What `fades` is over when it was not heard of for a while; what `is_worse` has got as bad as it can at
    its level. `worst_text` is the last text of its worst level, if that is not as it is now.
    """

    key: str
    id: str
    name: str
    level: str
    title: str
    text: str
    since: datetime
    told: str = ""
    told_at: datetime | None = None
    fades: bool = False
    is_pending: bool = True
    is_worse: bool = False
    heard: tuple[str, ...] = ()
    worst_text: str = ""

    @property
    def worst(self) -> str:
        """The worst level at which it was told, which is how bad it is to those who heard; if nobody has, as it is."""
        return self.told.split()[-1] if self.told else self.level


@dataclass(frozen=True)
class Item:
    """One thing to tell: that something is `wrong`, `still` so, or `over`; times are RFC 3339.

    `others` are the levels at which the same thing was told before, which hold no more.
    """

    what: str
    id: str
    name: str
    level: str
    title: str
    text: str
    since: str
    at: str
    others: str = ""


@dataclass
class Telling:
    """An item on its way to a channel; `message` is the id of the message that it has become a part of."""

    seq: int
    channel: str
    key: str
    item: Item
    message: str = ""


@dataclass(frozen=True)
class Silence:
    """Nothing is told about what a pattern names, until then (aware)."""

    pattern: str
    until: datetime
    reason: str


@dataclass
class AlertStore:
    """Used by the daemon's main thread alone. `write` makes changes durable, all of them together."""

    write: Callable[[Sequence[Change]], None]
    incidents: dict[str, Incident] = field(default_factory=dict)
    tellings: list[Telling] = field(default_factory=list)
    silences: dict[str, Silence] = field(default_factory=dict)
    begun_before: list[tuple[str, datetime]] = field(default_factory=list)
    _last: int = 0

    def load(self, database: sqlite3.Connection) -> None:
        self.incidents, self.tellings, self.silences = {}, [], {}
        for key, ident, *texts, since, told, told_at, fades, is_pending, is_worse, heard, worst in database.execute(
            "SELECT * FROM incident"
        ):
            name, level, title, text = texts
            at = datetime.fromisoformat(told_at) if told_at else None
            when = datetime.fromisoformat(since)
            marks = bool(fades), bool(is_pending), bool(is_worse)
            channels = tuple(heard.split())
            rest = told, at, *marks, channels, worst
            self.incidents[key] = Incident(key, ident, name, level, title, text, when, *rest)
        for seq, channel, key, message, item in database.execute("SELECT * FROM telling ORDER BY seq"):
            self.tellings.append(Telling(seq, channel, key, _item(json.loads(item)), message or ""))
            self._last = seq
        for pattern, until, reason in database.execute("SELECT * FROM silence"):
            self.silences[pattern] = Silence(pattern, datetime.fromisoformat(until), reason)
        rows = database.execute("SELECT channel, at FROM message ORDER BY at")
        self.begun_before = [(channel, datetime.fromisoformat(at)) for channel, at in rows]

    def note(self, incident: Incident | None, tellings: Iterable[tuple[str, str, Item]] = (), gone: str = "") -> None:
        """Keeps what is wrong, or that the one of the key `gone` is not any more, with what is to be told of it.

        What waits for the same channel about the same incident, and is in no message yet, is replaced.
        """
        changes: list[Change] = []
        if incident is not None:
            self.incidents[incident.key] = incident
            changes.append(kept(incident))
        if gone:
            self.incidents.pop(gone, None)
            changes.append(("DELETE FROM incident WHERE key = ?", [gone]))
        for channel, key, item in tellings:
            old = [one for one in self.waiting(channel) if one.item.id == item.id]
            changes += self._dropped(old)
            self._last += 1
            telling = Telling(self._last, channel, key, item)
            self.tellings.append(telling)
            changes.append(_row(telling))
        self.write(changes)

    def waiting(self, channel: str) -> list[Telling]:
        """What is in no message yet, the oldest first."""
        return [telling for telling in self.tellings if telling.channel == channel and not telling.message]

    def sent(self, channel: str) -> list[Telling]:
        """What is in the message that is on its way."""
        return [telling for telling in self.tellings if telling.channel == channel and telling.message]

    def assign(self, tellings: Sequence[Telling], message: str) -> None:
        """They are one message from now on, which keeps its id however often it is sent."""
        self.write(self._assigned(tellings, message))

    def assign_counted(self, channel: str, tellings: Sequence[Telling], message: str) -> None:
        """As `assign`, for a message that is one more of those that the channel gets in an hour."""
        now = datetime.now(UTC)
        self.write(
            [
                ("DELETE FROM message WHERE at < ? OR at > ?", [(now - COUNTED).isoformat(), now.isoformat()]),
                ("INSERT INTO message VALUES (?, ?, ?)", [message, channel, now.isoformat()]),
                *self._assigned(tellings, message),
            ]
        )

    def ages(self, channel: str) -> list[float]:
        """How many seconds ago the messages of a channel were begun, of those known when this was loaded.

        What a clock that was ahead had begun in the future does not count.
        """
        now = datetime.now(UTC)
        return [(now - at).total_seconds() for name, at in self.begun_before if name == channel and at <= now]

    def put_back(self, tellings: Sequence[Telling]) -> None:
        """They wait again for a message, where they waited before."""
        for telling in tellings:
            telling.message = ""
        self.write([("UPDATE telling SET message = NULL WHERE seq = ?", [telling.seq]) for telling in tellings])

    def shorten(self, telling: Telling) -> None:
        """It is told without its text, and waits again, behind all others."""
        changes = self._dropped([telling])
        self._last += 1
        short = Telling(self._last, telling.channel, telling.key, replace(telling.item, text=""))
        self.tellings.append(short)
        self.write([*changes, _row(short)])

    def forget(self, tellings: Sequence[Telling]) -> None:
        """They were delivered, or nobody is to be told any more."""
        self.write(self._dropped(tellings))

    def withdraw(self, incident: Incident) -> list[Telling]:
        """What waits to be told about a thing is not told; returns that."""
        waits = [one for one in self.tellings if one.item.id == incident.id and not one.message]
        self.write(self._dropped(waits))
        return waits

    def silence(self, silence: Silence) -> None:
        self.silences[silence.pattern] = silence
        values = [silence.pattern, silence.until.isoformat(), silence.reason]
        self.write([("INSERT OR REPLACE INTO silence VALUES (?, ?, ?)", values)])

    def end_silence(self, pattern: str) -> bool:
        """Whether there was one."""
        found = self.silences.pop(pattern, None)
        self.write([("DELETE FROM silence WHERE pattern = ?", [pattern])])
        return found is not None

    def _assigned(self, tellings: Sequence[Telling], message: str) -> list[Change]:
        for telling in tellings:
            telling.message = message
        return [("UPDATE telling SET message = ? WHERE seq = ?", [message, telling.seq]) for telling in tellings]

    def _dropped(self, old: Sequence[Telling]) -> list[Change]:
        gone = {telling.seq for telling in old}
        self.tellings = [telling for telling in self.tellings if telling.seq not in gone]
        return [("DELETE FROM telling WHERE seq = ?", [seq]) for seq in gone]


def _item(fields: dict[str, Any]) -> Item:
    return Item(**fields)


def _row(telling: Telling) -> Change:
    fields: list[str | int | None] = [
        telling.seq,
        telling.channel,
        telling.key,
        telling.message or None,
        json.dumps(asdict(telling.item)),
    ]
    return "INSERT INTO telling VALUES (?, ?, ?, ?, ?)", fields


def kept(incident: Incident, verb: str = "INSERT OR REPLACE") -> Change:
    """What writes an incident down."""
    told_at = incident.told_at.isoformat() if incident.told_at else None
    fields = [incident.key, incident.id, incident.name, incident.level, incident.title, incident.text]
    rest = [incident.since.isoformat(), incident.told, told_at]
    marks = [int(incident.fades), int(incident.is_pending), int(incident.is_worse)]
    values = [*fields, *rest, *marks, " ".join(incident.heard), incident.worst_text]
    return f"{verb} INTO incident VALUES ({', '.join('?' * len(values))})", values
