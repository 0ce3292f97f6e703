"""Makes messages of what is to be told, and has them delivered: what belongs together at once, and not too often."""

import os
import time
from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar

from maintd.alert_settings import Alerts as Settings
from maintd.alert_store import AlertStore, Telling
from maintd.couriers import Couriers, Delivered
from maintd.errors import Trouble
from maintd.events import Event, Failure
from maintd.messages import Message, fitting
from maintd.units import counted
from maintd.values import dataclass

_FIRST, _LAST = 5.0, 300.0
"""Seconds after which a delivery that failed is tried again: at first, and at most."""
_REFUSALS = 3
"""After so many definite refusals a message is made smaller: something in it is not taken."""
_DEFINITE = ("rejected", "crashed", "E2BIG")
_HOUR = 3600.0
_RESERVE = 5
"""The last of so many messages of an hour, one at least, are for what is critical."""
_MOST_WAITING = 5000
"""So many things wait for a channel that takes none; the oldest recoveries and reminders go first."""


@dataclass(frozen=True, kw_only=True)
class AlertSent(Event):
    """A message with these many things to tell was taken by a channel; `message` is its id."""

    name: ClassVar[str] = "alert.sent"

    message: str
    items: int

    @property
    def msg(self) -> str:
        return f"delivered: {counted(self.items, 'alert')}"


@dataclass(frozen=True, kw_only=True)
class AlertFailed(Failure):
    """A message could not be delivered. It is kept, and tried again until it can; told once until then."""

    name: ClassVar[str] = "alert.failed"
    usual_advice: ClassVar[str] = "it is kept and tried again; maintd alert test tells whether the channel works"


@dataclass
class _Channel:
    """One channel as it is now; times are monotonic, in seconds."""

    since: float | None = None
    is_busy: bool = False
    failures: int = 0
    refusals: int = 0
    not_before: float = 0.0
    sent: list[float] = field(default_factory=list)


class Dispatch:
    """Used by the daemon's main thread alone. What waits is in `store`, and outlives the daemon."""

    def __init__(self, store: AlertStore, emit: Callable[[Event], None], put: Callable[[Delivered], None]) -> None:
        self._store, self._emit = store, emit
        self._couriers = Couriers(put)
        self._channels: dict[str, _Channel] = {}
        self._settings, self._host = Settings(), ""

    @property
    def alive(self) -> bool:
        return self._couriers.alive

    def take_over(self, settings: Settings, host: str) -> None:
        """Goes by these settings; nobody is told any more on channels that are gone."""
        for name, known in self._channels.items():
            if settings.channels.get(name) != self._settings.channels.get(name):  # it may be mended
                known.failures, known.refusals, known.not_before = 0, 0, 0.0
        self._settings, self._host = settings, host
        for channel in {telling.channel for telling in self._store.tellings} - settings.channels.keys():
            self._store.forget([telling for telling in self._store.tellings if telling.channel == channel])

    def tick(self) -> None:
        """Sends what has waited for its like."""
        for name in self._settings.channels:
            self._send(name)

    def _channel(self, name: str) -> _Channel:
        if name not in self._channels:
            at = time.monotonic()
            self._channels[name] = _Channel(sent=[at - age for age in self._store.ages(name)])
        return self._channels[name]

    def _send(self, name: str) -> None:
        channel, at = self._channel(name), time.monotonic()
        if channel.is_busy or at < channel.not_before:
            return
        on_the_way = self._store.sent(name)
        if not on_the_way:
            on_the_way = self._due(name, channel, at)
        if on_the_way:
            channel.is_busy = True
            items = tuple(telling.item for telling in on_the_way)
            message = Message(on_the_way[0].message, self._host, items, self._settings.remind)
            self._couriers.send(name, self._settings.channels[name], message)

    def _due(self, name: str, channel: _Channel, at: float) -> list[Telling]:
        """What is to be one message now; it gets its id before it is sent."""
        waiting = self._store.waiting(name)
        if not waiting:
            channel.since = None
            return []
        channel.since = at if channel.since is None else channel.since
        if len(waiting) > _MOST_WAITING:
            self._store.forget(
                [one for one in waiting if one.item.what != "wrong"][: _MOST_WAITING // 2] or waiting[:1]
            )
        channel.sent = [when for when in channel.sent if when > at - _HOUR]
        waiting = self._store.waiting(name)
        is_reserved = len(channel.sent) >= self._most(is_critical=False)
        if is_reserved:  # for what is critical, which may be more than is one message
            waiting.sort(key=lambda telling: telling.item.level != "critical")
        most = self._most(is_critical=waiting[0].item.level == "critical")
        if at - channel.since < self._settings.group.total_seconds() or len(channel.sent) >= most:
            return []
        channel.sent.append(at)
        fit = fitting(telling.item for telling in waiting)
        channel.since = channel.since if fit < len(waiting) else None  # what does not fit has waited long enough too
        self._store.assign_counted(name, waiting[:fit], os.urandom(8).hex())
        return waiting[:fit]

    def _most(self, *, is_critical: bool) -> int:
        """How many messages an hour a channel may get."""
        most = self._settings.most
        return most if is_critical or most == 1 else most - max(most // _RESERVE, 1)

    def delivered(self, delivered: Delivered) -> None:
        """Takes in what came of a message."""
        channel = self._channel(delivered.channel)
        channel.is_busy = False
        if delivered.failed is not None:
            self._note_failure(channel, delivered, delivered.failed)
            return
        channel.failures, channel.refusals, channel.not_before = 0, max(channel.refusals - 1, 0), 0.0
        tellings = [one for one in self._store.sent(delivered.channel) if one.message == delivered.message]
        self._store.forget(tellings)
        self._emit(AlertSent(target=delivered.channel, message=delivered.message, items=len(tellings)))

    def _note_failure(self, channel: _Channel, delivered: Delivered, failed: Trouble) -> None:
        if not channel.failures:
            self._emit(AlertFailed.from_trouble(delivered.channel, "deliver a message", failed))
        sent = self._store.sent(delivered.channel)
        can_be_smaller = failed.error in _DEFINITE and any(telling.item.text for telling in sent)
        channel.not_before = time.monotonic() + min(_FIRST * 2.0 ** (channel.failures * (not can_be_smaller)), _LAST)
        channel.failures = min(channel.failures + 1, 16)
        channel.refusals = min(channel.refusals + 1, _REFUSALS) if failed.error in _DEFINITE else 0
        if channel.refusals == _REFUSALS:
            self._make_smaller(sent)

    def _make_smaller(self, refused: list[Telling]) -> None:
        """Something in a message is refused: half of it is sent alone; in the end that one thing, by its title alone.

        What is refused even so lets others go first.
        """
        if len(refused) == 1:
            self._store.shorten(refused[0])
        else:
            self._store.put_back(refused[len(refused) // 2 :])
            self._store.assign(refused[: len(refused) // 2], os.urandom(8).hex())

    def status(self) -> list[dict[str, Any]]:
        """Each channel, how much waits for it, and whether it takes nothing."""
        return [
            {
                "name": name,
                "waiting": sum(telling.channel == name for telling in self._store.tellings),
                "failing": bool(self._channels.get(name, _Channel()).failures),
            }
            for name in self._settings.channels
        ]
